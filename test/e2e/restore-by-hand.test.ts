import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { DuckDBBlobValue, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import { unpack } from 'msgpackr'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nodeKey, timelineKey } from '../../src/format/keys.ts'
import { totalsOf } from '../../src/model/segment-index.ts'
import type { TreeNode } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { allSegments } from '../support/catalogue.ts'
import { segments, streamOf } from '../support/many-segments.ts'
import { Workload } from '../support/workload.ts'

const SQL = fileURLToPath(new URL('../../tools/restore-by-hand.sql', import.meta.url))

let home = ''
let db: S3db
let tidemark: TidemarkPlugin
let inTheMiddle = 0
/** The moments that are compared, by what is special about them. */
const moments: Map<string, string> = new Map()

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-by-hand-'))
  db = new S3db({ connectionString: `file://${home}/database`, logLevel: 'silent' })
  await db.connect()
  const workload = new Workload(db, { seed: 7 })
  await workload.prepare()
  await workload.run(60)
  const odd = await db.createResource({
    name: 'odd names & 漢',
    attributes: { _tidemark: 'string|optional', text: 'string|optional', token: 'secret|optional' },
    idGenerator: 'incremental',
    paranoid: false,
    behavior: 'body-only',
  })
  const texts = [
    '',
    '"},"_tidemark":{"id":"x","raw":null,"json":2}}',
    'line\nbreak\u2028\r\t',
    '\u0001\u0000',
    'a\ud800b',
    '💾',
    "';--",
  ]
  for (const text of texts) await odd.insert({ _tidemark: text, text, token: 's3cr3t' })
  tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, seal: { events: 40 } })
  await db.usePlugin(tidemark)
  const now = async (): Promise<string> => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return new Date().toISOString()
  }
  await tidemark.reachable('latest') // waits for the first baseline
  moments.set('as it was found', await now())
  await workload.run(120)
  for (const text of texts) await odd.insert({ _tidemark: text, text, token: 's3cr3t' })
  await odd.delete('2')
  moments.set('after writes', await now())
  await tidemark.snapshot()
  moments.set('just after a snapshot', await now())
  await db.createResource({ name: 'late', attributes: { a: 'number' } })
  await workload.run(120)
  inTheMiddle = Date.now()
  await workload.run(40)
  moments.set('between two events', new Date(inTheMiddle).toISOString())
  for await (const { stamp } of tidemark.history('odd names & 漢', '9')) moments.set('at an event', stamp.ulid)
  await odd.deleteAll()
  moments.set('with an emptied resource', await now())
  await tidemark.flush()
}, 120_000)
afterAll(async () => {
  await db.disconnect()
  await rm(home, { recursive: true, force: true })
})

interface State {
  readonly json: string
  /** The value that the raw image stands for, binary as hex. */
  readonly raw: unknown
}

/** kind, resource, id -> state, from a directory that `restoreAt` wrote, by its manifest. */
async function restored(directory: string): Promise<Map<string, State>> {
  const { tidemark: manifest } = JSON.parse(await readFile(join(directory, 's3db.json'), 'utf8'))
  const states = new Map<string, State>()
  const whole = { name: '', schema: manifest.schema, records: null, objects: manifest.objects }
  for (const { name, schema, records, objects } of [...manifest.resources, whole]) {
    if (schema !== null) states.set(JSON.stringify(['schema', name, '']), { json: schema.json, raw: plain(schema.raw) })
    for (const [kind, file] of Object.entries({ record: records, object: objects })) {
      if (file === null) continue
      const text = gunzipSync(await readFile(join(directory, file.file))).toString()
      for (const line of text.split('\n').slice(0, -1)) {
        const bytes = Buffer.from(line)
        const length = Number(/"json":(\d+)\}\}$/.exec(line)?.[1])
        const { _tidemark } = JSON.parse(`{${bytes.subarray(length > 2 ? length : 1).toString()}`)
        const json = `${bytes.subarray(0, length - 1).toString()}}`
        states.set(JSON.stringify([kind, name, _tidemark.id]), { json, raw: plain(_tidemark.raw) })
      }
    }
  }
  return states
}

/** A raw image as JSON has it, with binary as hex, so that it compares with an unpacked one. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(plain)
  if ('$bin' in value) return { hex: Buffer.from(String(value.$bin), 'base64').toString('hex') }
  if ('$msgpack' in value) return plain(unpack(Buffer.from(String(value.$msgpack), 'base64')))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]))
}

async function byHand(moment: string, snapshot?: string, store = `${home}/store`): Promise<Map<string, State>> {
  const rows = await ask('FROM state', moment, snapshot, store)
  return new Map(
    rows.map(({ kind, resource, id, json, raw, raw_json }) => {
      const packed = raw instanceof DuckDBBlobValue ? unpack(raw.bytes) : JSON.parse(String(raw_json ?? 'null'))
      return [JSON.stringify([kind, resource, id]), { json: String(json), raw: plain(packed) }]
    }),
  )
}

/** What DuckDB answers once the file has run. */
async function ask(
  question: string,
  moment: string,
  snapshot: string | undefined,
  store: string,
): Promise<Record<string, DuckDBValue>[]> {
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  await connection.run(`SET VARIABLE store = '${store}'; SET VARIABLE moment = '${moment}'`)
  if (snapshot !== undefined) await connection.run(`SET VARIABLE snapshot = '${snapshot}'`)
  await connection.run(await readFile(SQL, 'utf8'))
  const rows = await (await connection.run(question)).getRowObjects()
  connection.closeSync()
  instance.closeSync()
  return rows
}

test('DuckDB alone gives the state that restoreAt gives, byte for byte, at every kind of moment', async () => {
  const seen: string[] = []
  for (const [what, moment] of moments) {
    const directory = join(home, `restored-${seen.length}`)
    await tidemark.restoreAt(moment, { target: `file:${directory}` })
    const expected = await restored(directory)
    const found = await byHand(moment)
    expect([...found.keys()].sort(), what).toEqual([...expected.keys()].sort())
    for (const [item, state] of expected) expect(found.get(item), `${what}: ${item}`).toEqual(state)
    seen.push(JSON.stringify([...found].sort()))
  }
  // All but the two around a snapshot differ, so a moment that is ignored would be seen.
  expect(new Set(seen).size).toBe(moments.size - 1)
})

test('every snapshot that is consistent leads to the same state', async () => {
  const { snapshots } = await tidemark.status()
  const moment = moments.get('with an emptied resource') ?? ''
  const fromLast = await byHand(moment)
  const states = await Promise.all(snapshots.map(({ ulid }) => byHand(moment, ulid)))
  expect(states).toHaveLength(2)
  for (const state of states) expect(state).toEqual(fromLast)
})

test('what stands in nodes of the catalogue is found, and a node that nothing names is not read', async () => {
  const store = `${home}/many`
  await cp(`${home}/store`, store, { recursive: true })
  const log = await TimelineLog.open(new FilesystemStore(store))
  const before = log.timeline
  // From before every snapshot, so that nobody needs the files, which are not there.
  const at = firstUlidAt(1_770_000_000_000)
  const acknowledged = { stream: at, firstSequence: 1, lastSequence: null, reason: '.'.repeat(200), by: 'ops', at }
  await log.commit(() => ({
    addSegments: segments(1800),
    putStreams: Array.from({ length: 5500 }, (_, n) => streamOf(1800, 'closed', firstUlidAt(1_760_000_000_000 + n))),
    addAcknowledgements: Array.from({ length: 100 }, () => acknowledged),
  }))
  const heights = (nodes: readonly TreeNode[]): number[] => nodes.map(({ height }) => height)
  expect(heights(log.timeline.segments.nodes)).toContain(1)
  expect(heights(log.present.ledger.nodes)).toContain(1)
  const head = JSON.parse(await readFile(join(store, timelineKey(log.timeline.generation)), 'utf8'))
  expect([head.timeline.snapshots, before.snapshots.length]).toEqual([[], 2])
  await writeFile(join(store, nodeKey(1, '00000000')), 'no JSON')
  for (const [what, moment] of moments)
    expect(await byHand(moment, undefined, store), what).toEqual(await byHand(moment))
  const { segments: known } = totalsOf(before.segments)
  const [found] = await ask('SELECT count(DISTINCT path) AS n FROM history', new Date().toISOString(), undefined, store)
  expect(found?.n).toBe(BigInt(known + 1800))
})

test('merged segments give the state that they gave before', async () => {
  const copy = `${home}/merged`
  await cp(`${home}/store`, copy, { recursive: true })
  const store = new FilesystemStore(copy)
  const log = await TimelineLog.open(store)
  const units = (await allSegments(store, log.timeline)).map((entry) => [entry])
  const request = { run: firstUlidAt(Date.now()), level: 1, erasures: 0, units, memory: 1e8, fileBytes: 50_000 }
  const { replaced, files } = await writeRun(store, request, () => {})
  expect(files.length).toBeGreaterThan(1)
  await log.commit(() => ({ merge: { replaced, by: files } }))
  await store.delete(replaced)
  for (const [what, moment] of moments)
    expect(await byHand(moment, undefined, copy), what).toEqual(await byHand(moment))
})

test('each line of a snapshot is the record and `_tidemark`, for anybody who reads JSON lines', async () => {
  const directory = join(home, 'plain')
  const moment = moments.get('after writes') ?? ''
  await tidemark.restoreAt(moment, { target: directory })
  let read = 0
  for (const resource of await tidemark.at(moment).resources()) {
    const name = resource.replaceAll(/[^A-Za-z0-9_-]/g, (char) => encodeURIComponent(char))
    const file = await readFile(join(directory, `${name}.jsonl.gz`)).catch(() => gzipOfNothing)
    const lines = gunzipSync(file).toString().split('\n').slice(0, -1)
    const records = []
    for await (const record of tidemark.at(moment).list(resource)) records.push(record)
    expect(lines.map((line) => withoutMark(JSON.parse(line), line))).toEqual(records)
    read += lines.length
  }
  expect(read).toBeGreaterThan(20)
})

const gzipOfNothing = Buffer.from('1f8b080000000000000303000000000000000000', 'hex')

/** The record; an attribute of that name comes first, and JSON.parse would keep the last. */
function withoutMark(parsed: Record<string, unknown>, line: string): unknown {
  const own =
    line.split('"_tidemark":').length > 2 && JSON.parse(line.slice(0, line.lastIndexOf(',"_tidemark":')).concat('}'))
  const { _tidemark, ...record } = parsed
  return own === false || !('_tidemark' in own) ? record : own
}

test('a database that was empty has a state, and a segment that nobody committed is no part of it', async () => {
  const store = `${home}/small-store`
  const small = new S3db({ connectionString: `file://${home}/small`, logLevel: 'silent' })
  await small.connect()
  const plugin = new TidemarkPlugin({ store: `file:${store}`, journal: `${home}/small-journal` })
  await small.usePlugin(plugin)
  const records = async (): Promise<string[]> => {
    const state = await byHand(new Date().toISOString(), undefined, store)
    return [...state.keys()].filter((key) => key.startsWith('["record"'))
  }
  await plugin.reachable('latest')
  expect(await records()).toEqual([])
  const only = await small.createResource({ name: 'only', attributes: { a: 'number' } })
  await only.insert({ id: 'one', a: 1 })
  await plugin.flush()
  expect(await records()).toEqual(['["record","only","one"]'])
  await cp(`${home}/store/segment`, `${store}/segment`, { recursive: true })
  expect(await records()).toEqual(['["record","only","one"]'])
  await small.disconnect()
})
