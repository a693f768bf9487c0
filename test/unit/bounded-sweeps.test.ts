import { expect, test } from 'vitest'
import { isNodeKey } from '../../src/format/keys.ts'
import type { SegmentEntry, TimelineChange } from '../../src/model/timeline.ts'
import { firstUlidAt, newUlid, ulidTime } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { nextPlan } from '../../src/upkeep/compaction/compact.ts'
import { sweepReplaced } from '../../src/upkeep/compaction/sweep.ts'
import { putReplaced } from '../../src/upkeep/replaced-files.ts'
import { sweep } from '../../src/upkeep/retention/sweep.ts'
import { SetClock } from '../support/kept-history.ts'
import { segments, streamOf } from '../support/many-segments.ts'
import { CountingStore } from '../support/stores.ts'

/** A store with so many segments, and another process that looks after it and has read nothing yet but the root and the ledger. */
async function storeOf(count: number, change: (all: readonly SegmentEntry[]) => TimelineChange | null) {
  const inner = new MemoryStore()
  const all = segments(count)
  const log = await TimelineLog.open(inner)
  await log.commit(() => ({ putStreams: [streamOf(count)], addSegments: all }))
  await log.commit(() => change(all))
  const store = new CountingStore(inner)
  const timeline = await TimelineLog.open(store)
  store.reset()
  return { all, inner, store, timeline }
}

const nodesRead = ({ log }: CountingStore): number =>
  log.filter((line) => line.startsWith('get ') && isNodeKey(line.slice(4))).length

/** Takes out the first hundred. */
function pruned(all: readonly SegmentEntry[]): TimelineChange {
  const gone = all.slice(0, 100)
  const [from = '', through = ''] = [gone[0]?.firstUlid, gone.at(-1)?.lastUlid]
  const range = { from, through, at: through, by: 'window 1d' }
  return { prune: { segments: gone, snapshots: [], pruned: [range], bases: new Map(), at: through } }
}

test('what was pruned is deleted without reading nodes of what stays, however much that is', async () => {
  const read: number[] = []
  for (const count of [600, 6000]) {
    const { all, inner, store, timeline } = await storeOf(count, pruned)
    for (const { key } of all) await inner.put(key, new Uint8Array(1))
    const clock = new SetClock()
    clock.set(ulidTime(all.at(-1)?.lastUlid ?? '') + 1000)
    await sweep({ store, timeline, clock }, 0)
    expect(await inner.head(all[99]?.key ?? '')).toBeNull()
    expect(await inner.head(all[100]?.key ?? '')).not.toBeNull()
    read.push(nodesRead(store))
  }
  expect(read[1]).toBeLessThanOrEqual(3)
  expect(read[1]).toBe(read[0])
})

test('what a merge replaced is deleted by reading nodes of its time, and stays where it is named', async () => {
  const read: number[] = []
  for (const count of [600, 6000]) {
    const { all, inner, store, timeline } = await storeOf(count, () => null)
    const some = all.slice(200, 230)
    const left = 'segment/01KAJ0QZX3N5V7E8T9RYBWDCFG/00/0000000000000001-0000000000000009-00000000.parquet'
    for (const key of [...some.map((one) => one.key), left]) await inner.put(key, new Uint8Array(1))
    const [from = '', through = ''] = [some[0]?.firstUlid, some.at(-1)?.lastUlid]
    const keys = [...some.map(({ key }) => key), left]
    await putReplaced(inner, { ulid: through, erasures: 0, keys, within: { from, through } })
    expect(await sweepReplaced(store, timeline, Number.MAX_SAFE_INTEGER)).toEqual({ deleted: 1, refused: [] })
    // The merge was not committed: what it wanted to replace is named.
    for (const { key } of some) expect(await inner.head(key), key).not.toBeNull()
    expect(await inner.head(left)).toBeNull()
    read.push(nodesRead(store))
  }
  expect(read[0]).toBeGreaterThan(0)
  expect(read[1]).toBeLessThanOrEqual(4)
})

test('a list that does not say of when its files are is held against everything', async () => {
  const { all, inner, store, timeline } = await storeOf(600, () => null)
  const [first] = all
  await inner.put(first?.key ?? '', new Uint8Array(1))
  await putReplaced(inner, { ulid: first?.lastUlid ?? '', erasures: 0, keys: [first?.key ?? ''] })
  expect(await sweepReplaced(store, timeline, Number.MAX_SAFE_INTEGER)).toEqual({ deleted: 0, refused: [] })
  expect(await inner.head(first?.key ?? '')).not.toBeNull()
})

test('many lists are swept some at a time, and what is named stays', async () => {
  const { all, inner, store, timeline } = await storeOf(600, () => null)
  const lists = 4
  const gone = (n: number): string => `segment/01KAJ0QZX3N5V7E8T9RYBWDCFG/00/${String(n).padStart(90, '0')}`
  for (let list = 0; list < lists; list++) {
    const some = all.slice(list * 30, list * 30 + 30)
    const left = Array.from({ length: 8000 }, (_, i) => gone(list * 8000 + i))
    for (const key of [...some.map((one) => one.key), ...left]) await inner.put(key, new Uint8Array(1))
    const within = { from: some[0]?.firstUlid ?? '', through: some.at(-1)?.lastUlid ?? '' }
    const keys = [...some.map((one) => one.key), ...left]
    await putReplaced(inner, { ulid: newUlid(list), erasures: 0, keys, within })
  }
  store.reset()
  const swept = await sweepReplaced(store, timeline, Number.MAX_SAFE_INTEGER)
  expect(swept).toEqual({ deleted: lists * 8000, refused: [] })
  for (const { key } of all.slice(0, lists * 30)) expect(await inner.head(key), key).not.toBeNull()
  expect(await inner.head(gone(0))).toBeNull()
  expect(await inner.head(gone(lists * 8000 - 1))).toBeNull()
  expect(store.log.findIndex((line) => line.startsWith('delete '))).toBeLessThan(
    store.log.findLastIndex((line) => line.startsWith('get ') && line.includes('replaced/')),
  )
})

test('what is merged next is found by reading a part of the catalogue, however much there is to merge', async () => {
  const read: number[] = []
  const begin = Date.UTC(2026, 0, 1)
  for (const count of [6000, 12_000]) {
    const inner = new MemoryStore()
    const addSegments = segments(count).map((one, n) => {
      const from = begin + n * 10_000
      return { ...one, firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + 10) }
    })
    const ulid = firstUlidAt(begin)
    const snapshot = { ulid, consistentFrom: ulid, prefix: `snapshot/${ulid}/`, records: 1, bytes: 1 }
    const addSnapshots = [{ ...snapshot, manifestSha256: 'a'.repeat(64) }]
    await (await TimelineLog.open(inner)).commit(() => ({ addSnapshots, addSegments }))
    const store = new CountingStore(inner)
    const timeline = await TimelineLog.open(store)
    store.reset()
    const plan = await nextPlan(timeline.timeline, timeline.nodes.segments)
    expect(plan?.units.flat().map(({ key }) => key)).toEqual(addSegments.slice(0, 30).map(({ key }) => key))
    read.push(nodesRead(store))
  }
  // All of the larger one has some two hundred leaves.
  expect(Math.max(...read)).toBeLessThan(100)
})
