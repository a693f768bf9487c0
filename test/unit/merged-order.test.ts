import { expect, test } from 'vitest'
import type { MergedSegment, SegmentEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt, newUlid, type Ulid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachNode, eachSegment, segmentsBetween } from '../../src/timeline/segments.ts'
import { nextPlan } from '../../src/upkeep/compaction/compact.ts'
import { SettledNodes } from '../../src/upkeep/compaction/settled.ts'
import { STREAM, segment, streamOf } from '../support/many-segments.ts'
import { random } from '../support/random.ts'
import { CountingStore } from '../support/stores.ts'

const KIB = 1024
const HOUR = 3_600_000
const DAY = 24 * HOUR
const BEGIN = Date.UTC(2026, 0, 1)
const PER_DAY = 4
const SHA256 = 'b'.repeat(64)

/** As long as one may be. */
const FILTER = Buffer.alloc(1024, 7).toString('base64')

/** The n-th segment: a quarter of an hour long, four in an hour of each day. */
function segmentAt(n: number): StreamSegment {
  const from = BEGIN + Math.floor(n / PER_DAY) * DAY + ((n % PER_DAY) * HOUR) / 4
  return { ...segment(n), firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + HOUR / 5), filter: FILTER }
}

/** So many files of a run with the events of these. */
function runOf(merged: readonly SegmentEntry[], level: number, files: number): MergedSegment[] {
  const run = newUlid(BEGIN)
  const at = `segment/${run}/0${level}/`
  const index = { key: `${at}index-0123abcd.bin`, bytes: 4096, sha256: SHA256, rowGroups: 1 }
  const chain = { key: `${at}chain-0123abcd.json.gz`, bytes: 500, sha256: SHA256, index }
  const [firstUlid = ''] = merged.map((one) => one.firstUlid).sort()
  const [lastUlid = ''] = merged.map((one) => one.lastUlid).sort((a, b) => (a < b ? 1 : -1))
  return Array.from({ length: files }, (_, file) => ({
    ...{ key: `${at}${String(file).padStart(4, '0')}-0123abcd.parquet`, level, run: chain, firstUlid, lastUlid },
    ...{ events: 10, bytes: 3000, sha256: SHA256, footer: { bytes: 900, crc32: 4_000_000_000 } },
  }))
}

/** A catalogue, and a list of what is to be in it, in order. */
class Catalogue {
  readonly store: CountingStore
  readonly log: TimelineLog
  expected: readonly SegmentEntry[] = []

  private constructor(store: CountingStore, log: TimelineLog) {
    this.store = store
    this.log = log
  }

  static async begin(): Promise<Catalogue> {
    const store = new CountingStore(new MemoryStore())
    const log = await TimelineLog.open(store)
    const snapshot = { ulid: STREAM, consistentFrom: STREAM, prefix: `snapshot/${STREAM}/`, records: 1, bytes: 1 }
    await log.commit(() => ({ addSnapshots: [{ ...snapshot, manifestSha256: SHA256 }] }))
    return new Catalogue(store, log)
  }

  async add(from: number, count: number): Promise<void> {
    const added = Array.from({ length: count }, (_, i) => segmentAt(from + i))
    const last = added.at(-1)?.lastUlid ?? ''
    const stream = { ...streamOf(from + count), lastUlid: last, sealedThrough: last, openedAt: STREAM }
    await this.log.commit(() => ({ putStreams: [stream], addSegments: added }))
    this.expected = [...this.expected, ...added]
  }

  /** The bytes of the commit. */
  async merge(merged: readonly SegmentEntry[], level: number, files: number): Promise<number> {
    const by = runOf(merged, level, files)
    const replaced = merged.map(({ key }) => key)
    this.store.reset()
    await this.log.commit(() => ({ merge: { replaced, by } }))
    const gone = new Set(replaced)
    const first = this.expected.findIndex(({ key }) => gone.has(key))
    const isLeft = ({ key }: SegmentEntry): boolean => !gone.has(key)
    this.expected = [...this.expected.slice(0, first), ...by, ...this.expected.slice(first).filter(isLeft)]
    return this.store.bytesWritten
  }

  /** Merges all that is over, runs of a month into so many files. The bytes of the largest commit. */
  async mergeAll(settled: SettledNodes, filesOfMonth: number): Promise<number> {
    for (let most = 0; ; ) {
      const plan = await nextPlan(this.log.timeline, this.log.nodes.segments, settled)
      if (plan === null) return most
      most = Math.max(most, await this.merge(plan.units.flat(), plan.level, plan.level === 4 ? filesOfMonth : 1))
    }
  }

  /** What stands in the catalogue is what is expected, in that order, in nodes that are what nodes are to be. */
  async check(): Promise<void> {
    const { timeline, nodes } = await TimelineLog.open(this.store)
    const found: SegmentEntry[] = []
    for await (const entry of eachSegment(nodes.segments, timeline.segments)) found.push(entry)
    expect(found.map(({ key }) => key)).toEqual(this.expected.map(({ key }) => key))
    expect(found).toEqual(this.expected)
    for await (const node of eachNode(nodes.segments, timeline.segments)) {
      expect((await this.store.head(node.key))?.bytes).toBeLessThan(38 * KIB)
      const content = await nodes.segments.read(node)
      if ('entries' in content) continue
      const heights = content.nodes.map(({ height }) => height)
      expect(heights).toEqual(heights.toSorted((a, b) => b - a))
      for (const same of Map.groupBy(heights, (height) => height).values()) expect(same.length).toBeLessThanOrEqual(24)
    }
  }

  /** The most leaves that somebody reads who looks for what was in a day. */
  async leavesOfADay(days: number): Promise<number> {
    let most = 0
    for (let day = 0; day < days; day++) {
      const { timeline, nodes } = await TimelineLog.open(this.store)
      let leaves = 0
      const between = (from: Ulid, through: Ulid): Promise<readonly SegmentEntry[]> =>
        segmentsBetween(nodes.segments, timeline.segments, from, through)
      await between(firstUlidAt(BEGIN + day * DAY), firstUlidAt(BEGIN + (day + 1) * DAY))
      for await (const node of eachNode(nodes.segments, timeline.segments))
        if (node.height === 0 && nodes.segments.known(node) !== null) leaves++
      most = Math.max(most, leaves)
    }
    return most
  }
}

test('a run stands where the first stood of what was merged into it, however many files it has and wherever that is', async () => {
  for (const seed of [1, 2, 3]) {
    const next = random(seed)
    const catalogue = await Catalogue.begin()
    await catalogue.add(0, 2500)
    let count = 2500
    for (let round = 0; round < 40; round++) {
      const { expected } = catalogue
      const from = Math.floor(next() * (expected.length - 1))
      const merged = expected.slice(from, from + 1 + Math.floor(next() ** 2 * 60))
      // Not all of them: what stays in between is what is too large to be merged.
      const chosen = merged.filter((one, i) => 'stream' in one && (i === 0 || next() < 0.9))
      const files = next() < 0.3 ? 1 + Math.floor(next() * 300) : 1
      if (chosen.length > 0) await catalogue.merge(chosen, 1, files)
      if (next() < 0.3) await catalogue.add(count++, 1)
      if (round % 8 === 7) await catalogue.check()
    }
    // All in one place, until the node above its leaves has too many.
    for (let n = 0; n < 12; n++) {
      const [one] = catalogue.expected.slice(700).filter((entry) => 'stream' in entry)
      if (one !== undefined) await catalogue.merge([one], 1, n === 11 ? 3000 : 200)
    }
    await catalogue.check()
  }
})

test('the files of a run stand in one leaf where there is room in one', async () => {
  const catalogue = await Catalogue.begin()
  await catalogue.add(0, 2000)
  for (let from = 0; from < 1900; from += 50) {
    const merged = catalogue.expected.filter((entry): entry is StreamSegment => 'stream' in entry).slice(10, 50)
    await catalogue.merge(merged, 2, 60)
  }
  await catalogue.check()
  const { timeline, nodes } = catalogue.log
  const leaves = new Map<string, number>()
  for await (const node of eachNode(nodes.segments, timeline.segments)) {
    const content = await nodes.segments.read(node)
    if (!('entries' in content)) continue
    const runs = new Set(content.entries.flatMap((entry) => ('run' in entry ? [entry.run.key] : [])))
    for (const run of runs) leaves.set(run, (leaves.get(run) ?? 0) + 1)
  }
  expect(leaves.size).toBeGreaterThan(30)
  expect([...leaves.values()].filter((count) => count > 1)).toEqual([])
})

test('where a year is merged at once, or day by day, who looks for a day reads at most two leaves, which are in the order of time', async () => {
  for (const isAtOnce of [true, false]) {
    const days = 365
    const catalogue = await Catalogue.begin()
    const settled = new SettledNodes()
    let most = 0
    if (isAtOnce) await catalogue.add(0, days * PER_DAY)
    for (let day = 0; day < days && !isAtOnce; day++) {
      for (let n = 0; n < PER_DAY; n++) await catalogue.add(day * PER_DAY + n, 1)
      most = Math.max(most, await catalogue.mergeAll(settled, 10))
    }
    most = Math.max(most, await catalogue.mergeAll(settled, 10))
    await catalogue.check()
    const begins = catalogue.expected.map(({ firstUlid }) => firstUlid)
    expect(begins).toEqual(begins.toSorted())
    expect(begins.length).toBeLessThan(200)
    expect(await catalogue.leavesOfADay(days)).toBeLessThanOrEqual(2)
    expect(most).toBeLessThan(64 * KIB)
  }
})
