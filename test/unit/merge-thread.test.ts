import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { dataset, encodeChunk } from '../../bench/lib/dataset.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { MergeThread } from '../../src/upkeep/compaction/merge-thread.ts'
import { type RunRequest, writeRun } from '../../src/upkeep/compaction/write-run.ts'

const EVENTS = 2000
const MIB = 1024 * 1024
const directories: string[] = []
const threads: MergeThread[] = []

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.end()
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
})

/** A store with segments of one stream, as units of a merge. */
async function filled(count: number): Promise<{ store: MemoryStore; units: SegmentEntry[][] }> {
  const store = new MemoryStore()
  const units: SegmentEntry[][] = []
  let previous = chainStart('stream')
  for (const changes of dataset({ events: count * EVENTS, chunk: EVENTS })) {
    const { bytes, info } = encodeSegment(encodeChunk(changes), { stream: 'stream', level: 0, previous })
    previous = info.chain.value
    const key = segmentKey({ ...info, nonce: '00000000' })
    await store.put(key, bytes)
    units.push([{ key, ...info }])
  }
  return { store, units }
}

function requestOf(units: RunRequest['units'], memory: number): RunRequest {
  return { run: newUlid(1), level: 1, erasures: 0, units, memory }
}

function threadOf(store: MemoryStore, file?: URL): MergeThread {
  const thread = new MergeThread(store, file)
  threads.push(thread)
  return thread
}

/** A worker of our own that notes each start of its in a file, and does as `then` says. */
function worker(then: string): { file: URL; starts: string } {
  const directory = mkdtempSync(join(tmpdir(), 'merge-thread-'))
  directories.push(directory)
  const starts = join(directory, 'starts')
  writeFileSync(starts, '')
  const path = join(directory, 'worker.ts')
  writeFileSync(
    path,
    `import { appendFileSync } from 'node:fs'\nappendFileSync(${JSON.stringify(starts)}, 'x')\n${then}\n`,
  )
  return { file: pathToFileURL(path), starts }
}

const REAL = `await import(${JSON.stringify(new URL('../../src/upkeep/compaction/merge-worker.ts', import.meta.url).href)})`

test('one thread writes run after run, the same that is written without one, and takes no bytes away from the store', async () => {
  const { store, units } = await filled(4)
  const { file, starts } = worker(REAL)
  const thread = threadOf(store, file)
  const told: string[] = []
  for (const request of [requestOf(units.slice(0, 2), 64 * MIB), requestOf(units.slice(2), 64 * MIB)]) {
    const apart = await thread.write(request, (key) => told.push(key))
    const here = await writeRun(store, request, () => {})
    expect(apart.replaced).toEqual(here.replaced)
    expect(apart.files.map(({ sha256 }) => sha256)).toEqual(here.files.map(({ sha256 }) => sha256))
    for (const [i, { key, bytes }] of apart.files.entries()) {
      expect((await store.get(key)).length).toBe(bytes)
      expect(await store.get(key)).toEqual(await store.get(here.files[i]?.key ?? ''))
    }
    expect(told).toEqual(expect.arrayContaining(apart.files.map(({ key }) => key)))
  }
  expect(readFileSync(starts, 'utf8')).toBe('x')
})

test('what goes wrong is told to who asked, and the thread goes on', async () => {
  const { store, units } = await filled(2)
  const thread = threadOf(store)
  const missing = units.map((unit) => unit.map((entry) => ({ ...entry, key: `${entry.key}x` })))
  await expect(thread.write(requestOf(missing, 64 * MIB), () => {})).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  expect((await thread.write(requestOf(units, 64 * MIB), () => {})).replaced).toHaveLength(2)
})

test('a thread that ends in the middle fails the run, and the next one has a thread of its own', async () => {
  const { store, units } = await filled(2)
  const { file } = worker(
    `import { parentPort } from 'node:worker_threads'\nparentPort?.on('message', () => process.exit(3))`,
  )
  const thread = threadOf(store, file)
  for (let i = 0; i < 2; i++)
    await expect(thread.write(requestOf(units, 64 * MIB), () => {})).rejects.toThrow('the merging thread ended')
})

test('a thread that fails takes nothing with it of the run that comes next', async () => {
  const { store, units } = await filled(2)
  const { file, starts } = worker('')
  const once = `import { readFileSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
if (readFileSync(${JSON.stringify(starts)}, 'utf8') !== 'x') ${REAL}
else parentPort?.on('message', () => { throw new Error('it fails once') })`
  appendFileSync(file, once)
  const thread = threadOf(store, file)
  await expect(thread.write(requestOf(units, 64 * MIB), () => {})).rejects.toThrow('it fails once')
  expect((await thread.write(requestOf(units, 64 * MIB), () => {})).replaced).toHaveLength(2)
})

test('a merge takes as many segments, and makes files as large, as its memory allows; two in any case', async () => {
  const { store, units } = await filled(12)
  const merged = async (memory: number): Promise<{ units: number; files: number; events: number }> => {
    const { replaced, files } = await writeRun(store, requestOf(units, memory), () => {})
    return { units: replaced.length, files: files.length, events: files.reduce((sum, { events }) => sum + events, 0) }
  }
  const [least, some, all] = [await merged(MIB), await merged(18 * MIB), await merged(128 * MIB)]
  expect(least.units).toBe(2)
  expect(some.units).toBeGreaterThan(2)
  expect(some.units).toBeLessThan(12)
  expect(all).toEqual({ units: 12, files: 1, events: 12 * EVENTS })
  // A file is gathered in memory: where there is less of it, files are smaller.
  expect(least.files).toBeGreaterThan(2)
  for (const { units: taken, events } of [least, some]) expect(events).toBe(taken * EVENTS)
})
