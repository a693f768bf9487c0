import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DryRunOptions, makeImage, type Sample, Tidemark } from '../../src/index.ts'
import { Replica } from '../../src/testing/replica.ts'
import { jsonLines } from '../support/cli.ts'
import { tidemarkHere as cli } from '../support/in-process.ts'
import { ModelDatabase } from '../support/model-database.ts'

const COUNT = 3000
const FIELDS = 7

let home = ''
let store = ''
let tidemark: Tidemark
/** Before every record was changed but the first ten, which are gone. */
let good = 0

const record = (n: number): object => Object.fromEntries(Array.from({ length: FIELDS }, (_, i) => [`f${i}`, n]))

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-full-'))
  store = `file:${home}/store`
  const source = new ModelDatabase()
  tidemark = await Tidemark.capture({ store, source, ack: 'memory' })
  const write = (n: number, value: object | null): Promise<void> =>
    source.write({ kind: 'record', resource: 'notes', id: String(n).padStart(5, '0') }, value && makeImage(value))
  for (let n = 0; n < COUNT; n++) await write(n, record(n))
  await new Promise((resolve) => setTimeout(resolve, 5))
  good = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 5))
  for (let n = 0; n < COUNT; n++) await write(n, n < 10 ? null : record(-n))
  await tidemark.flush()
})
afterAll(async () => {
  await tidemark.close()
  await rm(home, { recursive: true, force: true })
})

async function live(): Promise<Replica> {
  const target = new Replica()
  await tidemark.restoreAt('latest', { target, overwrite: true })
  return target
}

test('a dry run hands on every difference, one after the other and in order, and holds none', async () => {
  const target = await live()
  const ids: string[] = []
  let underWay = 0
  const onDifference = async ({ id, operation, before, after }: Sample): Promise<void> => {
    expect(++underWay).toBe(1)
    if (ids.length % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
    const n = Number(id)
    expect([operation, before === null, after]).toEqual([
      n < 10 ? 'insert' : 'update',
      n < 10,
      JSON.stringify(record(n)),
    ])
    ids.push(id)
    underWay--
  }
  const held = target.content()
  const { preview, written } = await tidemark.restoreAt(good, { target, dryRun: { onDifference } })
  expect(ids).toEqual(Array.from({ length: COUNT }, (_, n) => String(n).padStart(5, '0')))
  expect([preview.added, preview.changed, preview.samples.length, written]).toEqual([10, COUNT - 10, 5, false])
  expect(target.content()).toEqual(held)
})

test('who is told of the differences can end the dry run', async () => {
  let told = 0
  const dryRun: DryRunOptions = {
    onDifference: () => {
      if (++told === 7) throw new Error('enough')
    },
  }
  await expect(tidemark.restoreAt(good, { target: await live(), dryRun })).rejects.toThrow('enough')
  expect(told).toBe(7)
})

test('what a dry run tells is a function, and nothing else', async () => {
  for (const dryRun of [null, {}, { onDifference: 1 }, { onDifference: () => {}, all: true }, 'yes', 1]) {
    const target = new Replica()
    const given: unknown = dryRun
    const restoring = tidemark.restoreAt(good, { target, dryRun: given as DryRunOptions })
    await expect(restoring).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    expect(target.content()).toEqual([])
  }
})

test('restore --full prints every difference and then the preview, in text and in JSON, and writes nothing first', async () => {
  const target = ['--target', './state']
  const restore = async (...args: string[]): Promise<{ code: number; out: string }> =>
    cli(home, ['restore', '--to', String(good), ...target, ...args], { TIDEMARK_STORE: store })
  const text = await restore('--dry-run', '--full')
  expect(text.code).toBe(0)
  expect(text.out.match(/^ {2}\+ notes\/\d{5}$/gm)).toHaveLength(COUNT)
  expect(text.out.indexOf('preview')).toBeGreaterThan(text.out.indexOf('+ notes/02999'))
  const lines = jsonLines((await restore('--dry-run', '--full', '--json')).out)
  expect(lines).toHaveLength(COUNT + 1)
  expect(lines[7]).toEqual({
    kind: 'record',
    resource: 'notes',
    id: '00007',
    operation: 'insert',
    before: null,
    after: record(7),
  })
  expect(lines.at(-1)).toMatchObject({ written: false, preview: { added: COUNT, samples: [] } })
  const few = jsonLines((await restore('--dry-run', '--json')).out)
  expect(few).toMatchObject([{ written: false, preview: { added: COUNT, samples: Array(5).fill({ before: null }) } }])
  expect(await readdir(home)).toEqual(['store'])
  // Before anything is written, and then what was done.
  const done = jsonLines((await restore('--full', '--json')).out)
  expect(done.slice(-2)).toMatchObject([{ written: false }, { written: true, preview: { added: COUNT } }])
  expect(done).toHaveLength(COUNT + 2)
})

test('restore --full shows every field of a change', async () => {
  const sample = ['restore', '--to', 'latest', '--target', './changed', '--yes']
  await cli(home, sample, { TIDEMARK_STORE: store })
  const back = [
    'restore',
    '--to',
    String(good),
    '--target',
    './changed',
    '--resource',
    'notes',
    '--id',
    '00010',
    '--dry-run',
  ]
  const few = await cli(home, back, { TIDEMARK_STORE: store })
  expect(few.out).toContain('and 3 fields more')
  const full = await cli(home, [...back, '--full'], { TIDEMARK_STORE: store })
  expect(full.out).not.toContain('more')
  expect(full.out).toContain('f6: -10 -> 10')
})
