import { expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import type { Head } from '../../src/model/head.ts'
import { union } from '../../src/model/interval.ts'
import type { MergedSegment, SegmentEntry, StreamSegment, TimelineChange } from '../../src/model/timeline.ts'
import { firstUlidAt, newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachSegment } from '../../src/timeline/segments.ts'
import { nextPlan } from '../../src/upkeep/compaction/compact.ts'
import { SettledNodes } from '../../src/upkeep/compaction/settled.ts'
import { checkHead } from '../../src/upkeep/head.ts'
import { allSegments } from '../support/catalogue.ts'
import { CommitBytes, MOST_COMMIT_BYTES } from '../support/commit-bytes.ts'
import { putFullestRoot, snapshotOf } from '../support/fullest-root.ts'
import { STREAM, segment, streamOf } from '../support/many-segments.ts'
import { random } from '../support/random.ts'
import { CountingStore } from '../support/stores.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const BEGIN = Date.UTC(2026, 0, 1)
const SHA256 = 'b'.repeat(64)
const filterOf = (bytes: number): string => Buffer.alloc(bytes, 7).toString('base64')
const [FILTER, RUN_FILTER] = [filterOf(LIMITS.filterBytes), filterOf(LIMITS.runFilterBytes)]

/** Bytes of each generation that a log commits, and those that a reader of the one before it reads then. */
class World {
  readonly store = new MemoryStore()
  readonly commits: number[] = []
  readonly reads: number[] = []
  /** That of the log. */
  readonly counted = new CommitBytes(this.store, async (bytes) => {
    this.commits.push(bytes)
    this.#counting.reset()
    await this.#reader?.refresh()
    this.reads.push(this.#counting.bytesRead)
  })
  readonly #counting = new CountingStore(this.store)
  #log: TimelineLog | null = null
  #reader: TimelineLog | null = null

  async open(): Promise<TimelineLog> {
    this.#reader = await TimelineLog.open(this.#counting)
    this.#log = await TimelineLog.open(this.counted)
    return this.#log
  }

  async commit(change: TimelineChange): Promise<void> {
    await this.#log?.commit(() => change)
    expect(this.#reader?.timeline).toEqual(this.#log?.timeline)
  }

  /** No commit was too large, nor was what a reader read after one. */
  expectBounded(): void {
    expect(Math.max(...this.commits)).toBeLessThanOrEqual(MOST_COMMIT_BYTES)
    expect(Math.max(...this.reads)).toBeLessThanOrEqual(MOST_COMMIT_BYTES)
  }
}

/** Files of a run with the events of these, with filters as long as they may be. */
function runOf(merged: readonly SegmentEntry[], level: number, files: number): MergedSegment[] {
  const run = newUlid(BEGIN)
  const at = `segment/${run}/0${level}/`
  const index = { key: `${at}index-0123abcd.bin`, bytes: 134_217_728, sha256: SHA256, rowGroups: 10_000 }
  const chain = { key: `${at}chain-0123abcd.json.gz`, bytes: 99_999_999, sha256: SHA256, index }
  const [firstUlid = ''] = merged.map((one) => one.firstUlid).sort()
  const lastUlid = merged.map((one) => one.lastUlid).sort()[merged.length - 1] ?? ''
  const about = { level, run: chain, firstUlid, lastUlid, events: 2_000_000, bytes: 25_000_000, sha256: SHA256 }
  const footer = { bytes: 90_000, crc32: 4_000_000_000 }
  return Array.from({ length: files }, (_, file) => ({
    key: `${at}${String(file).padStart(4, '0')}-0123abcd.parquet`,
    ...{ ...about, footer, filter: RUN_FILTER },
  }))
}

/** The n-th of so many segments a day, a quarter of an hour each. */
function segmentAt(n: number, perDay: number): StreamSegment {
  const from = BEGIN + Math.floor(n / perDay) * DAY + ((n % perDay) * HOUR) / 4
  return { ...segment(n), firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + HOUR / 5), filter: FILTER }
}

async function mergeAll(world: World, log: TimelineLog, settled: SettledNodes): Promise<number> {
  for (let merges = 0; ; merges++) {
    const plan = await nextPlan(log.timeline, log.nodes.segments, settled)
    if (plan === null) return merges
    const merged = plan.units.flat()
    const by = runOf(merged, plan.level, plan.level === 4 ? 3 : 1)
    await world.commit({ merge: { replaced: merged.map(({ key }) => key), by } })
  }
}

test('where months are merged at once, or as they go, each commit writes at most 64 KiB, and a refresh reads at most that', async () => {
  for (const [days, perDay, isAtOnce] of [
    [40, 16, true],
    [20, 96, false],
  ] as const) {
    const world = new World()
    const log = await world.open()
    const settled = new SettledNodes()
    await world.commit({ addSnapshots: [{ ...snapshotOf(0), ulid: STREAM, consistentFrom: STREAM }] })
    let merges = 0
    for (let n = 0; n < days * perDay; n++) {
      const added = segmentAt(n, perDay)
      const stream = { ...streamOf(n + 1), lastUlid: added.lastUlid, sealedThrough: added.lastUlid, openedAt: STREAM }
      await world.commit({ putStreams: [stream], addSegments: [added] })
      if (!isAtOnce && n % 24 === 23) merges += await mergeAll(world, log, settled)
    }
    merges += await mergeAll(world, log, settled)
    expect(merges).toBeGreaterThan(150)
    world.expectBounded()
    const begins: string[] = []
    for await (const { firstUlid } of eachSegment(log.nodes.segments, log.timeline.segments)) begins.push(firstUlid)
    expect(begins).toEqual(begins.toSorted())
  }
})

test('a capture writes at most 64 KiB where one more leaf makes a node of every height, in both trees at once', async () => {
  for (const counts of [[23], [23, 23], [23, 23, 7], [23, 23, 7, 7], [23, 23, 7, 7, 7]]) {
    let together = 0
    for (let snapshots = 0; snapshots < 32; snapshots++) {
      const world = new World()
      await putFullestRoot(world.store, counts, snapshots)
      const log = await world.open()
      for (let n = 0; n < 10; n++) {
        const before = [log.timeline.segments.nodes.length, log.present.ledger.nodes.length]
        const added = { ...segment(n), filter: FILTER, bytes: 999_999_999, events: 100_000 }
        await world.commit({ putStreams: [streamOf(n + 1)], addSegments: [added], addSnapshots: [snapshotOf(100 + n)] })
        const after = [log.timeline.segments.nodes.length, log.present.ledger.nodes.length]
        if (after.every((count, i) => count < (before[i] ?? 0))) together++
      }
      world.expectBounded()
      // Nothing was done ahead of them.
      expect(world.commits).toHaveLength(10)
    }
    expect(together).toBeGreaterThan(0)
  }
})

test('whatever is committed, each commit writes at most 64 KiB, and what stands in the catalogue is what was committed', async () => {
  for (const seed of [1, 2]) {
    const next = random(seed)
    const world = new World()
    const log = await world.open()
    let expected: readonly SegmentEntry[] = []
    const some = (most: number): readonly SegmentEntry[] => {
      const from = Math.floor(next() * expected.length)
      return expected.slice(from, from + 1 + Math.floor(next() * most))
    }
    for (let n = 0; n < 1000; n++) {
      const kind = next()
      const stream = streamOf(n + 1)
      if (expected.length < 100 || kind < 0.7) {
        const added = { ...segment(n), filter: FILTER }
        await world.commit({ putStreams: [stream], addSegments: [added] })
        expected = [...expected, added]
      } else if (kind < 0.8) {
        // Not all of them: some are too large to be merged.
        const merged = some(90).filter((_, i) => i === 0 || next() < 0.95)
        const by = runOf(merged, 1, 1 + Math.floor(next() * 3))
        await world.commit({ merge: { replaced: merged.map(({ key }) => key), by } })
        const at = expected.findIndex(({ key }) => key === merged[0]?.key)
        const rest = expected.filter((entry) => !merged.includes(entry))
        expected = [...rest.slice(0, at), ...by, ...rest.slice(at)]
      } else if (kind < 0.85) {
        const chosen = Array.from({ length: 8 }, () => some(1)[0]).filter((one) => one !== undefined)
        await world.commit(erasureOf([...new Set(chosen)], n))
        expected = expected.map((entry) => (chosen.includes(entry) ? writtenAnew(entry, n) : entry))
      } else if (kind < 0.9) {
        const gone = some(60)
        const ranges = gone.map(({ firstUlid, lastUlid }) => ({ from: firstUlid, through: lastUlid }))
        const pruned = union(ranges).map((range) => ({ ...range, at: STREAM, by: 'keep 7 days' }))
        await world.commit({ prune: { segments: gone, snapshots: [], pruned, bases: new Map(), at: STREAM } })
        expected = expected.filter((entry) => !gone.includes(entry))
      } else if (kind < 0.95) await world.commit({ putMark: { name: `m${n % 100}`, ulid: STREAM, at: firstUlidAt(n) } })
      else await world.commit({ addSnapshots: [snapshotOf(n)] })
    }
    world.expectBounded()
    const found = (await allSegments(world.store, log.timeline)).map(({ key }) => key)
    expect(found.sort()).toEqual(expected.map(({ key }) => key).sort())
  }
})

test('a list of heads and the commit that names it are at most 64 KiB together, however many generations go at once', async () => {
  const world = new World()
  const log = await world.open()
  const heads: Head[] = []
  for (let n = 0; n < 2600; n++) {
    await log.commit(() => (n % 4 === 0 ? { addSnapshots: [snapshotOf(n)] } : {}))
    if (n % 200 === 0 && log.head !== null) heads.push(log.head)
  }
  const store = world.counted
  expect((await forgetGenerations(store, log, { kept: 10, least: 5 })).generations).toBeGreaterThanOrEqual(2590)
  expect(log.timeline.forgotten?.length).toBeGreaterThan(2)
  world.expectBounded()
  for (const head of heads) await checkHead(world.store, log.timeline, head)
})

function writtenAnew(entry: SegmentEntry, n: number): SegmentEntry {
  return { ...entry, key: entry.key.replace(/[0-9a-f]{8}\.parquet$/, `${n.toString(16).padStart(8, '0')}.parquet`) }
}

function erasureOf(chosen: readonly SegmentEntry[], n: number): TimelineChange {
  const segments = chosen.map((one) => ({ key: one.key, by: writtenAnew(one, n) }))
  const about = { resource: 'r', mode: 'rewritten', reason: 'x', by: null, events: 1, snapshots: 0 } as const
  return { erase: { entry: { ...about, ulid: firstUlidAt(n) }, segments, snapshots: [] } }
}
