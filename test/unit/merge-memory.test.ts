import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { dataset, encodeChunk } from '../../bench/lib/dataset.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { PartChain } from '../../src/format/segment/run-chain.ts'
import { Salts } from '../../src/format/segment/salts.ts'
import { MIN_ULID, newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { MergeUnit } from '../../src/upkeep/compaction/plan.ts'
import { RunMemory } from '../../src/upkeep/compaction/run-memory.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { CountingStore } from '../support/stores.ts'

const MIB = 1024 * 1024

/** Bytes that a process holds of what is merged, and bytes that a merge counts for it. */
async function holding(what: string): Promise<{ held: number; counted: number }> {
  const script = join(import.meta.dirname, '../support/merge-holds.ts')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, what])
  const [held, counted]: [number, number] = JSON.parse(stdout)
  return { held, counted }
}

test.each(['walking', 'standing', 'checking', 'gathering'])('a merge counts what it holds: %s', async (what) => {
  const { held, counted } = await holding(what)
  expect(held).toBeGreaterThan(counted / 20)
  expect(held).toBeLessThan(counted * 1.5)
})

const [RUNS, RUN_EVENTS, FEW] = [4, 600, 1]

/** Segments of one stream with so many events each, as units of a merge. */
async function segmentsOf(store: CountingStore, chunk: number): Promise<readonly MergeUnit[]> {
  const units: MergeUnit[] = []
  const stream = MIN_ULID
  let previous = chainStart(stream)
  for (const changes of dataset({ events: RUNS * RUN_EVENTS, chunk })) {
    const { bytes, info } = encodeSegment(encodeChunk(changes), { stream, level: 0, previous })
    previous = info.chain.value
    const key = segmentKey({ ...info, nonce: '00000000' })
    await store.put(key, bytes)
    units.push([{ key, ...info }])
  }
  return units
}

test('a merge of what was many segments takes less of it at once than of what was few, in the same memory', async () => {
  const store = new CountingStore(new MemoryStore())
  const request = { level: 1, erasures: 0, fileBytes: MIB / 8 }
  const written = async (level: number, units: readonly MergeUnit[], memory: number) => {
    const { replaced, files } = await writeRun(
      store,
      { ...request, run: newUlid(level), level, units, memory },
      () => {},
    )
    return { replaced, files, events: files.reduce((sum, { events }) => sum + events, 0) }
  }
  const large = await segmentsOf(store, RUN_EVENTS)
  const small = await segmentsOf(store, FEW)
  const each = small.length / RUNS
  const runs: MergeUnit[] = []
  for (let run = 0; run < RUNS; run++)
    runs.push((await written(1, small.slice(run * each, (run + 1) * each), 64 * MIB)).files)
  expect(runs.map((files) => files.reduce((sum, { events }) => sum + events, 0))).toEqual(Array(RUNS).fill(RUN_EVENTS))
  const replacedOf = async (units: readonly MergeUnit[], memory: number): Promise<number> => {
    const { replaced, events } = await written(2, units, memory)
    const taken = units.filter((unit) => unit.every(({ key }) => replaced.includes(key))).length
    expect(events).toBe(taken * RUN_EVENTS)
    return taken
  }
  expect(await replacedOf(large, 4 * MIB)).toBe(RUNS)
  expect(await replacedOf(runs, 4 * MIB)).toBeLessThan(RUNS)
  expect(await replacedOf(runs, 12 * MIB)).toBe(RUNS)
  // Of those that do not fit in only the first is opened.
  store.reset()
  expect(await replacedOf(runs, 2 * MIB)).toBe(2)
  const read = new Set(store.log.filter((line) => line.startsWith('get ') && line.includes('/01/chain-')))
  expect(read.size).toBe(3)
})

test('what a merge takes is counted for its steps, of which the largest counts', () => {
  const chain = { previous: '', links: [], salts: Salts.fresh(), erased: [] }
  const part = (n: number, events: number): PartChain => {
    const [firstSequence, lastSequence] = [n * events + 1, (n + 1) * events]
    return { stream: MIN_ULID, firstSequence, lastSequence, firstUlid: MIN_ULID, lastUlid: MIN_ULID, chain }
  }
  const bytesOf = (parts: number, events: number, fileBytes: number, inputs = 0): number => {
    const needed = new RunMemory(fileBytes)
    needed.add(
      Array.from({ length: parts }, (_, n) => part(n, events)),
      inputs,
    )
    return needed.bytes
  }
  // Of many small segments the chain file, whatever there is room for besides.
  expect(bytesOf(10_000, 1, 0)).toBe(bytesOf(10_000, 1, MIB))
  // Of few large ones the files, and what is read for them; of very many events the index, of files that are small.
  expect(bytesOf(1, 1000, MIB)).toBe(bytesOf(1, 1000, 0, 2 * MIB))
  expect(bytesOf(1, 100_000, MIB)).toBe(bytesOf(1, 100_000, 2 * MIB))
  expect(bytesOf(1, 100_000, MIB)).toBeGreaterThan(100_000 * (83 + 16 + 56))
})
