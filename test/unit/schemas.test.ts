import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020, type AnySchemaObject, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { isLedgerEntry } from '../../src/format/timeline-shape.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { Workload } from '../support/workload.ts'

let home = ''
const validators = new Map<string, ValidateFunction>()

async function validator(name: string): Promise<ValidateFunction> {
  const ajv = new Ajv2020({
    strict: true,
    allErrors: true,
    strictRequired: false,
    strictTuples: false,
    allowUnionTypes: true,
  })
  formats.default(ajv)
  if (name === 'node') ajv.addSchema(await schemaOf('timeline'))
  return ajv.compile(await schemaOf(name))
}

async function schemaOf(name: string): Promise<AnySchemaObject> {
  return JSON.parse(await readFile(new URL(`../../schemas/${name}.schema.json`, import.meta.url), 'utf8'))
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-schemas-'))
  for (const name of ['store', 'timeline', 'node', 'manifest', 'drill']) validators.set(name, await validator(name))
})
afterAll(() => rm(home, { recursive: true, force: true }))

/** What is wrong with a value, by the schema. */
function errors(schema: string, value: unknown): unknown[] {
  const validate = validators.get(schema)
  if (validate === undefined) throw new Error(`no schema ${schema}`)
  return validate(value) ? [] : (validate.errors ?? ['?'])
}

/** Every JSON file under a directory with the schema that is meant for it. */
async function jsonFiles(directory: string): Promise<{ path: string; schema: string; value: unknown }[]> {
  const found = []
  for (const path of (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.json'))) {
    const folder = path.split('/')[0] ?? ''
    const named = ['timeline', 'node', 'drill'].includes(folder) ? folder : 'manifest'
    const schema = path === 'tidemark.json' ? 'store' : named
    found.push({ path, schema, value: JSON.parse(await readFile(join(directory, path), 'utf8')) })
  }
  return found
}

async function expectValid(directory: string): Promise<string[]> {
  const files = await jsonFiles(directory)
  for (const { path, schema, value } of files) expect(errors(schema, value), path).toEqual([])
  return files.map(({ path }) => path)
}

describe('what is written follows the schemas', () => {
  test.each(['journal', 'store', 'memory'] as const)('a database of the engine, ack %s', async (ack) => {
    const database = new ModelDatabase()
    const write = (id: string, value: object | null): Promise<void> =>
      database.write(
        { kind: 'record', resource: 'u:ü', id },
        value === null ? null : recordImage(value, Buffer.from([0xc4, 1, 7])),
      )
    await database.write({ kind: 'object', resource: '', id: 'x' }, recordImage({}))
    await write('a', {})
    const store = `${home}/${ack}`
    const options = { store: `file:${store}`, source: database, journal: `${home}/j-${ack}`, ack, seal: { events: 2 } }
    const tidemark = await Tidemark.capture(options)
    for (let i = 0; i < 80; i++) {
      await write(`r${i % 7}`, i % 5 === 4 ? null : { i })
      if (i % 3 === 0) await tidemark.flush() // so many segments that some of them are in nodes
    }
    await tidemark.snapshot()
    await tidemark.restoreAt('latest', { target: `file:${home}/restored-${ack}` })
    await tidemark.drill({ count: 2 })
    await tidemark.close()
    const paths = await expectValid(store)
    expect(paths).toContain('tidemark.json')
    expect(paths.filter((path) => path.startsWith('snapshot'))).toHaveLength(2)
    expect(await expectValid(`${home}/restored-${ack}`)).toEqual(['s3db.json'])
  })

  test('an s3db.js database, with a restore in place', async () => {
    const db = new S3db({ connectionString: `file://${home}/database`, logLevel: 'silent' })
    await db.connect()
    const workload = new Workload(db, { seed: 3 })
    await workload.prepare()
    await workload.run(40)
    const tidemark = new TidemarkPlugin({ store: `file:${home}/s3db`, journal: `${home}/j-s3db` })
    await db.usePlugin(tidemark)
    await tidemark.flush()
    const moment = new Date()
    await new Promise((resolve) => setTimeout(resolve, 5))
    await workload.run(40)
    await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
    await db.disconnect()
    const paths = await expectValid(`${home}/s3db`)
    const manifest = paths.find((path) => path.endsWith('s3db.json')) ?? ''
    const { resources } = JSON.parse(await readFile(join(home, 's3db', manifest), 'utf8'))
    expect(resources['w-body-only']).toMatchObject({ behavior: 'body-only', timestamps: true, format: 'jsonl' })
    const texts = (await jsonFiles(`${home}/s3db`)).map(({ value }) => JSON.stringify(value))
    expect(texts.some((text) => text.includes('"restoring":{'))).toBe(true)
  })
})

/** The value with what stands at `path` replaced; `undefined` removes it. */
function altered(value: unknown, path: readonly (string | number)[], replacement: unknown): unknown {
  const [first, ...rest] = path
  if (first === undefined) return replacement
  if (Array.isArray(value)) return value.map((one, i) => (i === first ? altered(one, rest, replacement) : one))
  const object = value as Record<string, unknown>
  const { [first]: _, ...others } = object
  const next = altered(object[first], rest, replacement)
  return next === undefined ? others : { ...others, [first]: next }
}

/** Every place in a value, but not inside what belongs to others. */
function places(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null || /^(raw|attributes|partitions|versions)$/.test(String(at.at(-1))))
    return [at]
  return [
    at,
    ...Object.entries(value).flatMap(([name, one]) => places(one, [...at, Array.isArray(value) ? Number(name) : name])),
  ]
}

test('what is broken is refused: a member missing, one too many, or of another type, anywhere', async () => {
  const files = await jsonFiles(`${home}/journal`)
  let tried = 0
  for (const schema of ['store', 'timeline', 'manifest', 'drill']) {
    const of = files.filter((file) => file.schema === schema)
    expect(of.length, schema).toBeGreaterThan(0)
    for (const { value } of [...of.slice(0, 1), ...of.slice(-1)]) {
      for (const path of places(value)) {
        const shown = `${schema} ${path.join('.')}`
        const last = path.at(-1)
        const free = last === 'raw' // any value, and absent is the same as null only to a reader
        if (!free) expect(errors(schema, altered(value, path, [true])), shown).not.toEqual([])
        const optional =
          /^(behavior|currentVersion|versions|addSegments|addSnapshots|putStreams|addEpoch|endRestores|restoring|ids|addLosses|addAcknowledgements|except|started|boot|namespace|door|filter)$/.test(
            String(last),
          )
        const own = path.at(-2) !== 'resources' || typeof last === 'number'
        if (typeof last === 'string' && !optional && own) {
          expect(errors(schema, altered(value, path, undefined)), `${shown} missing`).not.toEqual([])
        }
        tried++
      }
      expect(errors(schema, { ...(value as object), more: 1 })).not.toEqual([])
    }
  }
  expect(tried).toBeGreaterThan(80)
})

test('what waits for its deletion says what clocks have shown, and nothing else', async () => {
  const { value } = (await jsonFiles(`${home}/journal`)).findLast(({ schema }) => schema === 'timeline') ?? {}
  const stamp = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
  const condemned = { key: `snapshot/${stamp}/`, bytes: 10, at: stamp }
  const withOne = (one: object): unknown => altered(value, ['timeline', 'condemned'], [one])
  const seen = { from: 1, through: 9, longest: 8 }
  for (const good of [condemned, { ...condemned, seen }]) {
    expect(errors('timeline', withOne(good))).toEqual([])
    expect(isLedgerEntry({ condemned: good })).toBe(true)
  }
  expect(errors('timeline', withOne({ ...condemned, seen: { ...seen, by: 'x' } }))).not.toEqual([])
  for (const bad of [{}, { ...seen, longest: -1 }, { ...seen, from: '1' }]) {
    expect(errors('timeline', withOne({ ...condemned, seen: bad }))).not.toEqual([])
    expect(isLedgerEntry({ condemned: { ...condemned, seen: bad } })).toBe(false)
  }
})
