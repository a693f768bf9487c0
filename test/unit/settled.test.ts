import { expect, test } from 'vitest'
import type { MergedSegment, SegmentEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt, newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { entriesOf } from '../../src/timeline/tree.ts'
import { nextPlan } from '../../src/upkeep/compaction/compact.ts'
import type { CompactionPlan } from '../../src/upkeep/compaction/plan.ts'
import { SettledNodes } from '../../src/upkeep/compaction/settled.ts'
import { allSegments } from '../support/catalogue.ts'
import { STREAM, segment, streamOf } from '../support/many-segments.ts'
import { random } from '../support/random.ts'

const HOUR = 3_600_000
const BEGIN = Date.UTC(2026, 0, 1)
const PER_DAY = 4

/** The n-th segment: of six hours. One that is not to be merged has events that are too large for that. */
function segmentAt(n: number, isLarge: boolean): StreamSegment {
  const from = BEGIN + n * 6 * HOUR
  const bytes = isLarge ? 20 * 1024 * 1024 : 3000
  return { ...segment(n), firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + HOUR), bytes }
}

/** An index that grows by a day at a time, is merged as planned, and is disturbed. */
class World {
  readonly #log: TimelineLog
  readonly #next: () => number
  readonly store: MemoryStore
  count = 0

  private constructor(store: MemoryStore, log: TimelineLog, next: () => number) {
    this.store = store
    this.#log = log
    this.#next = next
  }

  static async begin(seed: number): Promise<World> {
    const store = new MemoryStore()
    const log = await TimelineLog.open(store)
    const sha256 = 'a'.repeat(64)
    const snapshot = { ulid: STREAM, consistentFrom: STREAM, prefix: `snapshot/${STREAM}/`, records: 1, bytes: 1 }
    await log.commit(() => ({ addSnapshots: [{ ...snapshot, manifestSha256: sha256 }] }))
    return new World(store, log, random(seed))
  }

  async day(): Promise<void> {
    const from = this.count
    this.count += PER_DAY
    const added = Array.from({ length: PER_DAY }, (_, i) => segmentAt(from + i, this.#next() < 0.4))
    const last = added.at(-1)?.lastUlid ?? ''
    const stream = { ...streamOf(this.count), lastUlid: last, sealedThrough: last, openedAt: STREAM }
    await this.#log.commit(() => ({ putStreams: [stream], addSegments: added }))
  }

  all(): Promise<readonly SegmentEntry[]> {
    return allSegments(this.store, this.#log.timeline)
  }

  /** The plan, and how many nodes were looked at. */
  async plan(settled: SettledNodes): Promise<{ readonly plan: CompactionPlan | null; readonly nodes: number }> {
    let nodes = 0
    const reader = this.#log.nodes.segments
    const read: typeof reader.read = (node) => {
      nodes++
      return reader.read(node)
    }
    return { plan: await nextPlan(this.#log.timeline, { read }, settled), nodes }
  }

  /** Merges into a run of two files; of a month, of so many that they do not fit into one leaf. */
  async merge({ level, units }: CompactionPlan): Promise<void> {
    const merged = units.flat()
    const run = newUlid(BEGIN)
    const sorted = merged.map(({ firstUlid }) => firstUlid).sort()
    const last =
      merged
        .map(({ lastUlid }) => lastUlid)
        .sort()
        .at(-1) ?? ''
    const by = Array.from({ length: level === 4 ? 120 : 2 }, (_, file): MergedSegment => {
      const firstUlid = (file === 0 ? sorted[0] : sorted.at(-1)) ?? ''
      return { ...fileOf(run, level, file), firstUlid, lastUlid: last }
    })
    await this.#log.commit(() => ({ merge: { replaced: merged.map(({ key }) => key), by } }))
  }

  /** Takes a segment out that stands beside a file of a run of a month which has others in another leaf; false where there is none. */
  async split(): Promise<boolean> {
    const leaves: (readonly SegmentEntry[])[] = []
    const { nodes } = this.#log.timeline.segments
    for await (const entries of entriesOf(nodes, this.#log.nodes.segments.read, () => true)) leaves.push(entries)
    const runsIn = (entries: readonly SegmentEntry[]): string[] =>
      entries.flatMap((entry) => ('run' in entry && entry.level === 4 ? [entry.run.key] : []))
    const shared = leaves.filter((entries, i) =>
      runsIn(entries).some((run) => leaves.some((other, j) => i !== j && runsIn(other).includes(run))),
    )
    const gone = shared
      .flat()
      .filter((entry) => !('run' in entry))
      .slice(0, 1)
    const at = newUlid(BEGIN)
    if (gone.length === 0) return false
    await this.#log.commit(() => ({ prune: { segments: gone, snapshots: [], pruned: [], bases: new Map(), at } }))
    return true
  }

  /** Takes a few old segments out, as a pruning does: nodes are written anew, and what stays of them is joined. */
  async prune(): Promise<void> {
    const old = (await this.all()).filter((entry) => !('run' in entry))
    const gone = old.filter(() => this.#next() < 0.05)
    const at = newUlid(BEGIN)
    await this.#log.commit(() => ({ prune: { segments: gone, snapshots: [], pruned: [], bases: new Map(), at } }))
  }

  /** Writes a run anew, as an erasure does: every file of it names another chain file. */
  async erase(): Promise<void> {
    const runs = (await this.all()).filter((entry) => 'run' in entry)
    const [one] = runs.filter(() => this.#next() < 0.3)
    if (one === undefined) return
    const chain = { ...one.run, key: one.run.key.replace('0123abcd', 'ffffffff') }
    const segments = runs
      .filter(({ run }) => run.key === one.run.key)
      .map((entry) => ({ key: entry.key, by: { ...entry, run: chain } }))
    const entry = {
      ulid: STREAM,
      resource: 'r',
      mode: 'rewritten' as const,
      reason: 'x',
      by: null,
      events: 1,
      snapshots: 0,
    }
    await this.#log.commit(() => ({ erase: { entry, segments, snapshots: [] } }))
  }
}

function fileOf(run: string, level: number, file: number): Omit<MergedSegment, 'firstUlid' | 'lastUlid'> {
  const at = `segment/${run}/0${level}/`
  const sha256 = 'b'.repeat(64)
  const index = { key: `${at}index-0123abcd.bin`, bytes: 4096, sha256, rowGroups: 1 }
  const chain = { key: `${at}chain-0123abcd.json.gz`, bytes: 500, sha256, index }
  const sizes = { events: 10, bytes: 3000, sha256, footer: { bytes: 900, crc32: 7 } }
  return { key: `${at}${String(file).padStart(4, '0')}-0123abcd.parquet`, level, run: chain, ...sizes }
}

/** Every run of a plan has all of its files. */
async function expectWhole(world: World, { units }: CompactionPlan): Promise<void> {
  const all = await world.all()
  for (const unit of units) {
    const [first] = unit
    if (first === undefined || !('run' in first)) continue
    const files = all.filter((entry) => 'run' in entry && entry.run.key === first.run.key).map(({ key }) => key)
    expect(unit.map(({ key }) => key).sort()).toEqual(files.sort())
  }
}

test('what is settled is not looked at again, and the plans are those of a look at everything', async () => {
  for (const seed of [1, 2]) {
    const world = await World.begin(seed)
    const next = random(seed + 100)
    const settled = new SettledNodes()
    let merges = 0
    for (let day = 0; day < 100; day++) {
      await world.day()
      if (next() < 0.05) await world.prune()
      if (next() < 0.05) await world.erase()
      for (;;) {
        const { plan } = await world.plan(settled)
        const { plan: full } = await world.plan(new SettledNodes())
        expect(plan === null).toBe(full === null)
        if (plan === null) break
        await expectWhole(world, plan)
        await world.merge(plan)
        merges++
      }
    }
    expect(merges).toBeGreaterThan(30)
  }
})

test('where a part of a run comes to stand outside of what is settled, everything is looked at again', async () => {
  const world = await World.begin(3)
  const settled = new SettledNodes()
  for (let day = 0; day < 130; day++) {
    await world.day()
    for (;;) {
      const { plan } = await world.plan(settled)
      if (plan === null) break
      await world.merge(plan)
    }
  }
  const before = await world.plan(settled)
  const { nodes: all } = await world.plan(new SettledNodes())
  expect(before.nodes).toBeLessThan(all)
  expect(await world.split()).toBe(true)
  expect((await world.plan(settled)).nodes).toBeGreaterThanOrEqual(all)
  expect((await world.plan(settled)).nodes).toBeLessThan(all)
})

test('a look costs what is new, however old the store is', async () => {
  const looked: number[] = []
  for (const years of [1, 2]) {
    const world = await World.begin(7)
    const settled = new SettledNodes()
    let most = 0
    for (let day = 0; day < years * 365; day++) {
      await world.day()
      for (;;) {
        const { plan, nodes } = await world.plan(settled)
        if (day > years * 365 - 30) most = Math.max(most, nodes)
        if (plan === null) break
        await world.merge(plan)
      }
    }
    looked.push(most)
    const full = await world.plan(new SettledNodes())
    expect(full.nodes).toBeGreaterThan(years * 8)
  }
  const [one = 0, two = 0] = looked
  expect(two).toBeLessThanOrEqual(Math.max(one + 2, 12))
}, 120_000)
