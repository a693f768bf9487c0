import fc from 'fast-check'
import { expect, test } from 'vitest'
import { applyChange } from '../../src/model/apply-change.ts'
import {
  EMPTY_TIMELINE,
  type SegmentEntry,
  type SnapshotEntry,
  type StreamEntry,
  type Timeline,
} from '../../src/model/timeline.ts'
import { firstUlidAt, MIN_ULID, type Ulid, ulidTime } from '../../src/model/ulid.ts'
import { gapsOf, needsBaseline, startOf } from '../../src/restore/gaps.ts'
import { isEmptyPlan, joinedPlans, type PrunePlan, planPrune } from '../../src/upkeep/retention/plan.ts'
import { type RetentionPolicy, rulesOf } from '../../src/upkeep/retention/policy.ts'
import { random } from '../support/random.ts'
import { type OracleSnapshot, RetentionOracle } from '../support/retention-oracle.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const BEGIN = Date.UTC(2026, 0, 1)

/** A history that goes on: events of a few streams in segments, snapshots now and then, pruned again and again. */
class World {
  readonly #next: () => number
  timeline: Timeline = { ...EMPTY_TIMELINE }
  #known: { timeline: Timeline | null; gone: readonly number[] } = { timeline: null, gone: [] }
  /** Every event that ever was, by its millisecond, and the segment that has it. */
  readonly events: { readonly at: number; readonly key: string }[] = []
  readonly marks: number[] = []
  readonly holds: { from: number; through: number; until: number | null }[] = []
  now = BEGIN
  newestEvent = BEGIN

  readonly #isHoled: boolean

  /** `isHoled`: events are lost now and then. */
  constructor(seed: number, isHoled = false) {
    this.#next = random(seed)
    this.#isHoled = isHoled
    this.#baseline()
  }

  chance(share: number): boolean {
    return this.#next() < share
  }

  upTo(n: number): number {
    return Math.floor(this.#next() * n)
  }

  /** Some hours to weeks of work. */
  work(): void {
    for (let steps = 5 + this.upTo(20); steps > 0; steps--) {
      this.now += 1 + this.upTo(this.chance(0.1) ? 5 * DAY : 8 * HOUR)
      if (this.chance(0.8)) this.#seal(`${this.upTo(3)}`)
      if (this.#isHoled && this.chance(0.04)) this.#lose(`${this.upTo(3)}`)
      if (this.chance(0.25)) this.#snapshot()
      if (this.chance(0.05)) this.#baseline()
    }
    if (this.chance(0.4)) this.#keep()
  }

  #seal(name: string): void {
    const id = idOf(name)
    const known = this.timeline.streams.find((stream) => stream.id === id)
    const first = (known?.lastSequence ?? 0) + 1
    const count = 1 + this.upTo(4)
    const from = this.now
    const key = `segment/${id}/00/${first}`
    for (let i = 0; i < count; i++) {
      this.events.push({ at: this.now, key })
      if (i < count - 1) this.now += 1 + this.upTo(HOUR)
    }
    const last = first + count - 1
    const range = {
      firstSequence: first,
      lastSequence: last,
      firstUlid: firstUlidAt(from),
      lastUlid: firstUlidAt(this.now),
    }
    const segment: SegmentEntry = {
      key,
      level: 0,
      stream: id,
      ...range,
      events: count,
      bytes: 100 * count,
      sha256: '',
      footer: { bytes: 1, crc32: 1 },
      chain: { previous: `${first - 1}`, value: `${last}` },
    }
    const stream: StreamEntry = {
      id,
      state: 'closed',
      host: 'h',
      pid: 1,
      journal: { kind: 'memory' },
      openedAt: firstUlidAt(BEGIN),
      sealedThrough: firstUlidAt(this.now),
      lastSequence: last,
      lastUlid: firstUlidAt(this.now),
      chain: `${last}`,
      owner: '',
    }
    this.newestEvent = this.now
    this.timeline = applyChange(this.timeline, { addSegments: [segment], putStreams: [stream] })
  }

  /** An event that the stream tells of, and that is in no segment. */
  #lose(name: string): void {
    const id = idOf(name)
    const known = this.timeline.streams.find((stream) => stream.id === id)
    if (known === undefined) return
    this.now += 1
    this.events.push({ at: this.now, key: 'lost' })
    const lastSequence = known.lastSequence + 1
    const stream = { ...known, lastSequence, sealedThrough: firstUlidAt(this.now + 1), chain: `${lastSequence}` }
    this.now += 2
    this.timeline = applyChange(this.timeline, { putStreams: [stream] })
  }

  #snapshot(): void {
    // Nothing is made from a history with a hole that nobody knows of.
    if (needsBaseline(this.timeline)) {
      this.#baseline()
      return
    }
    this.now += 1
    this.#add(this.now, this.now)
  }

  /** Read from the database while it is written to. */
  #baseline(): void {
    const from = this.now
    this.now += 1
    this.#seal('9')
    this.now += 1
    this.#add(from, this.now)
  }

  #add(at: number, from: number): void {
    const ulid = firstUlidAt(at)
    const files = { prefix: `snapshot/${ulid}/`, records: 1, bytes: 1000, manifestSha256: '' }
    const entry: SnapshotEntry = { ulid, consistentFrom: firstUlidAt(from), ...files }
    this.timeline = applyChange(this.timeline, { addSnapshots: [entry] })
  }

  #keep(): void {
    const reachable = this.moments().filter((at) => this.isWhole(at))
    const [a = 0, b = 0] = [0, 0].map(() => reachable[this.upTo(reachable.length)] ?? 0).sort((x, y) => x - y)
    if (this.chance(0.5)) {
      this.marks.push(a)
      this.timeline = applyChange(this.timeline, {
        putMark: { name: `m${this.marks.length}`, ulid: firstUlidAt(a), at: MIN_ULID },
      })
      return
    }
    // What lies between was pruned in part, maybe: it is not promised then.
    const until = this.chance(0.5) ? null : this.now + this.upTo(60 * DAY)
    this.holds.push({ from: a, through: b, until })
    const id = firstUlidAt(this.holds.length)
    const end = until === null ? null : firstUlidAt(until)
    this.timeline = applyChange(this.timeline, {
      addHold: { id, from: firstUlidAt(a), through: firstUlidAt(b), until: end, reason: 'x', by: null },
    })
  }

  /** Every moment at which the answer may change, and those beside it. */
  moments(): readonly number[] {
    const times = [
      ...this.events.map(({ at }) => at),
      ...this.timeline.snapshots.flatMap(({ ulid, consistentFrom }) => [ulidTime(ulid), ulidTime(consistentFrom)]),
      ...this.marks,
      ...this.holds.flatMap(({ from, through }) => [from, through]),
      this.now,
    ]
    return [...new Set(times.flatMap((at) => [at - 1, at, at + 1]))].sort((x, y) => x - y)
  }

  /** Whether a moment can be made from what is there, however. */
  isWhole(at: number): boolean {
    return this.timeline.snapshots.some((snapshot) => this.#makes(snapshot, at))
  }

  /** Whether the product makes it, and from what is there. */
  isReached(at: number): boolean {
    const start = startOf(this.timeline, firstUlidAt(at))
    if (start === null || start.except.length > 0) return false
    expect(this.#makes(start.snapshot, at), `${at} is made from what is not there`).toBe(true)
    return true
  }

  #makes({ ulid, consistentFrom }: SnapshotEntry, at: number): boolean {
    if (ulidTime(consistentFrom) > at) return false
    const missing = this.#missing()
    return !missing.some((gone) => gone > ulidTime(ulid) && gone <= at)
  }

  /** The milliseconds of events that are not in any segment, for the timeline as it is. */
  #missing(): readonly number[] {
    if (this.#known.timeline !== this.timeline) {
      const keys = new Set(this.timeline.segments.tail.map(({ key }) => key))
      const gone = this.events.filter(({ key }) => !keys.has(key)).map(({ at }) => at)
      this.#known = { timeline: this.timeline, gone }
    }
    return this.#known.gone
  }

  /** At once or in parts, which take the same together; `onPart` is called after each. */
  async prune(policy: RetentionPolicy, nowMs: number, onPart: () => void): Promise<void> {
    const whole = await this.#planned(policy, nowMs)
    const most = this.chance(0.3) ? Number.POSITIVE_INFINITY : 1 + this.upTo(4)
    const plans: PrunePlan[] = []
    for (let plan = await this.#planned(policy, nowMs, most); !isEmptyPlan(plan); ) {
      this.#take(plan, firstUlidAt(nowMs))
      onPart()
      plans.push(plan)
      plan = await this.#planned(policy, nowMs, most)
    }
    const [first, ...rest] = plans
    expect(first === undefined ? null : contentOf(joinedPlans([first, ...rest]))).toEqual(
      isEmptyPlan(whole) ? null : contentOf(whole),
    )
  }

  #planned(policy: RetentionPolicy, nowMs: number, most?: number): Promise<PrunePlan> {
    const input = { timeline: this.timeline, rules: rulesOf(policy), nowMs, damaged: new Set<string>() }
    return planPrune(input, this.timeline.segments.tail, undefined, most)
  }

  #take(plan: PrunePlan, at: Ulid): void {
    const { segments, snapshots, bases } = plan
    const pruned = plan.pruned.map((range) => ({ ...range, at, by: 'test' }))
    this.timeline = applyChange(this.timeline, { prune: { segments, snapshots, pruned, bases, at } })
  }

  oracle(policy: RetentionPolicy, now = this.now): RetentionOracle {
    const snapshots = this.timeline.snapshots.map(
      ({ ulid, consistentFrom }): OracleSnapshot => ({
        at: ulidTime(ulid),
        from: ulidTime(consistentFrom),
        isHoled: false,
      }),
    )
    const { marks, holds, newestEvent } = this
    return new RetentionOracle({ snapshots, newestEvent, now, marks, holds }, policy)
  }
}

/** What a plan takes, in no order. */
function contentOf({ segments, snapshots, ...rest }: PrunePlan): unknown {
  return {
    ...rest,
    segments: segments.map(({ key }) => key).sort(),
    snapshots: snapshots.map(({ ulid }) => ulid).sort(),
  }
}

function idOf(name: string): Ulid {
  return firstUlidAt(BEGIN + Number(name)).slice(0, 25) + name
}

const policies: fc.Arbitrary<RetentionPolicy> = fc
  .record(
    {
      window: fc.constantFrom('6h', '2d', '30d'),
      count: fc.integer({ min: 1, max: 4 }),
      maxAge: fc.constantFrom('12h', '3d'),
      gfs: fc.record(
        {
          hourly: fc.integer({ min: 1, max: 5 }),
          daily: fc.integer({ min: 1, max: 5 }),
          weekly: fc.integer({ min: 1, max: 3 }),
          monthly: fc.integer({ min: 1, max: 3 }),
          yearly: fc.integer({ min: 1, max: 2 }),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  )
  .filter(({ window, count, maxAge, gfs }) => [window, count, maxAge, ...Object.values(gfs ?? {})].some(Boolean))

test('what a policy promises stays reachable, over many prunings, and what it does not need goes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), policies, async (seed, policy) => {
      const world = new World(seed)
      for (let round = 0; round < 4; round++) {
        world.work()
        const skew = world.chance(0.2) ? (world.chance(0.5) ? 400 : -3) * DAY : 0
        const oracle = world.oracle(policy, world.now + skew)
        const moments = world.moments()
        const before = new Set(moments.filter((at) => world.isWhole(at)))
        for (const at of before) expect(world.isReached(at)).toBe(true)
        const needed = neededBy(world, oracle, moments)
        await world.prune(policy, world.now + skew, () => expectPromised(world, oracle, moments, before))
        expectPromised(world, oracle, moments, before)
        expect(new Set(world.timeline.segments.tail.map(({ key }) => key))).toEqual(needed)
      }
    }),
    { numRuns: 15 },
  )
})

test('what is promised stays reachable where events were lost, and no state is made without them', async () => {
  let gaps = 0
  await fc.assert(
    fc.asyncProperty(fc.integer(), policies, async (seed, policy) => {
      const world = new World(seed, true)
      for (let round = 0; round < 5; round++) {
        world.work()
        const oracle = world.oracle(policy)
        const moments = world.moments()
        const before = new Set(moments.filter((at) => world.isReached(at)))
        const known = gapsOf(world.timeline).length
        await world.prune(policy, world.now, () => expectPromised(world, oracle, moments, before))
        gaps += known - gapsOf(world.timeline).length
        expectPromised(world, oracle, moments, before)
      }
    }),
    { numRuns: 15 },
  )
  // What was pruned is no gap.
  expect(gaps).toBeGreaterThan(10)
})

/** What was promised of the moments that could be reached `before` can be reached, and no other. */
function expectPromised(
  world: World,
  oracle: RetentionOracle,
  moments: readonly number[],
  before: ReadonlySet<number>,
): void {
  for (const at of moments) {
    const reached = world.isReached(at)
    if (before.has(at) && oracle.isPromised(at)) expect(reached, `${new Date(at).toISOString()}`).toBe(true)
    if (!before.has(at)) expect(reached).toBe(false)
  }
}

/** The segments with an event behind the last snapshot before a promised moment, and not behind the moment. */
function neededBy(world: World, oracle: RetentionOracle, moments: readonly number[]): ReadonlySet<string> {
  const needed = new Set<string>()
  const there = new Set(world.timeline.segments.tail.map(({ key }) => key))
  for (const at of moments) {
    if (!oracle.isPromised(at) || !world.isWhole(at)) continue
    const start = world.timeline.snapshots.findLast(({ consistentFrom }) => ulidTime(consistentFrom) <= at)
    const after = start === undefined ? MIN_ULID : start.ulid
    for (const { at: event, key } of world.events) if (isBetween(event, after, at) && there.has(key)) needed.add(key)
  }
  return needed
}

function isBetween(at: number, after: Ulid, through: number): boolean {
  return at > ulidTime(after) && at <= through
}
