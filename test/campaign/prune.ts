import { ulidTime } from '../../src/model/ulid.ts'
import { eachSegment } from '../../src/timeline/segments.ts'
import { replacedLists } from '../../src/upkeep/replaced-files.ts'
import type { RetentionPolicy } from '../../src/upkeep/retention/policy.ts'
import { filesOf } from '../../src/upkeep/run-chains.ts'
import { BEGIN, DAY, HOUR } from '../support/kept-history.ts'
import { random } from '../support/random.ts'
import type { RetentionOracle } from '../support/retention-oracle.ts'
import { RetentionWorld } from '../support/retention-world.ts'
import type { Campaign, Tally } from './campaign.ts'

/*
 * Retention, over two years of hourly work: a policy from the seed, marks and holds that come and go, records that are erased,
 * a clock that jumps for a pruning, and processes that die at any call of the store while they prune, mark or hold. After each
 * pruning an oracle says which moments are promised: those are what they were, the others are refused as pruned, and nothing
 * is in the store that no promise needs, once the grace is over.
 */
export const prune: Campaign = { name: 'prune', seeds: 1, run: (seed, tally) => scenario(seed, tally, 730) }

/** Moments that are restored after a pruning. */
const LOOKS = 10
const GRACE = '1d'
const GRACE_MS = DAY

/** What the oracle is told, and what is done: the same, but for a test of the test. */
interface Policies {
  readonly told: RetentionPolicy
  readonly done: RetentionPolicy
}

/** So many days of one seed. */
export async function scenario(seed: number, tally: Tally, days: number, given?: Policies): Promise<void> {
  const world = await RetentionWorld.begin(random(seed))
  const own = policyOf(world)
  const compacts = seed % 2 === 0
  const waiting = new Map<string, Waiting>()
  const policies = given ?? { told: own, done: own }
  try {
    for (let day = 0; day < days; ) {
      const until = Math.min(days, day + 2 + world.upTo(6))
      for (; day < until; day++) await world.day()
      for (let i = world.upTo(3); i > 0; i--) await world.keep(await world.process())
      if (compacts && world.chance(0.7)) tally.add('merges', await world.compact(await world.process()))
      if (world.chance(0.1) && (await world.erase())) tally.add('records erased')
      await pruneOnce(world, policies, tally, waiting)
    }
  } finally {
    await world.end()
  }
}

function policyOf(world: RetentionWorld): RetentionPolicy {
  const gfs = { daily: 1 + world.upTo(10), weekly: 1 + world.upTo(6), monthly: 1 + world.upTo(12) }
  const policies: readonly RetentionPolicy[] = [
    { window: `${1 + world.upTo(14)}d` },
    { window: `${1 + world.upTo(14)}d`, gfs },
    { gfs, maxAge: `${1 + world.upTo(9)}d` },
    { count: 1 + world.upTo(5), window: '36h' },
  ]
  return policies[world.upTo(policies.length)] ?? {}
}

async function pruneOnce(
  world: RetentionWorld,
  { told, done }: Policies,
  tally: Tally,
  waiting: Map<string, Waiting>,
): Promise<void> {
  const jump = world.chance(0.1) ? (world.chance(0.5) ? 900 : -20) * DAY : 0
  if (jump !== 0) tally.add('clocks that jumped')
  const oracle = await world.oracle(told, world.now + jump)
  const looks = looksOf(world)
  const before = await world.process()
  const whole = new Set<number>()
  for (const at of looks) if ((await world.shown(before, at)) !== null) whole.add(at)
  world.clock.set(world.now + jump)
  if (world.chance(0.4)) {
    tally.add('prunings that were killed')
    // What it did until then is checked below, by who comes after it.
    await world.process(1 + world.upTo(40)).then(
      (dying) => world.prune(done, dying, GRACE).catch(() => undefined),
      () => undefined,
    )
  }
  await world.prune(done, await world.process(), GRACE)
  world.clock.set(world.now)
  tally.add('prunings')
  const after = await world.process()
  for (const at of looks) {
    const shown = await world.shown(after, at)
    if (shown === null) {
      if (whole.has(at) && oracle.isPromised(at)) throw new Error(`${iso(at)} was promised, and is gone`)
      tally.add('moments refused')
      continue
    }
    if (!whole.has(at)) throw new Error(`${iso(at)} was pruned, and is shown again`)
    expectState(shown, world.stateAt(at), at)
    tally.add('moments restored')
  }
  await checkSnapshots(world, oracle, tally)
  await checkNeeded(world, oracle, jump)
  await checkWaiting(world, waiting, jump)
}

/** Every mark, both ends of the holds, the window's edge, and moments of any age: each half an hour behind a write. */
function looksOf(world: RetentionWorld): readonly number[] {
  const hours = Math.floor((world.now - BEGIN) / HOUR)
  const any = Array.from(
    { length: LOOKS },
    () => world.now - world.upTo(world.chance(0.5) ? hours : 400) * HOUR - HOUR / 2,
  )
  return [
    ...any.filter((at) => at > BEGIN),
    ...world.marks.values(),
    ...world.holds.flatMap(({ from, through }) => [from, through]),
  ]
}

/** The states of snapshots that are promised, by their stamps. */
async function checkSnapshots(world: RetentionWorld, oracle: RetentionOracle, tally: Tally): Promise<void> {
  const archive = await world.process()
  const { timeline } = await archive.refresh()
  const promised = timeline.snapshots.filter(({ consistentFrom }) => oracle.isPromised(ulidTime(consistentFrom)))
  for (const { ulid, consistentFrom } of promised.slice(-1 - world.upTo(3))) {
    const shown = await world.shown(archive, ulid)
    if (shown === null) throw new Error(`snapshot ${ulid} was promised, and is gone`)
    expectState(shown, world.stateAt(ulidTime(consistentFrom)), ulidTime(consistentFrom))
    tally.add('snapshots restored')
  }
}

/** Nothing is named that no promise needs, and nothing but that and what is condemned is in the store. */
async function checkNeeded(world: RetentionWorld, oracle: RetentionOracle, jump: number): Promise<void> {
  const archive = await world.process()
  const { timeline } = await archive.refresh()
  const starts = timeline.snapshots.map(({ ulid, consistentFrom }) => ({
    at: ulidTime(ulid),
    from: ulidTime(consistentFrom),
  }))
  const needed: { after: number; through: number }[] = starts.map(({ at, from }) => ({ after: at, through: from }))
  const grid = Array.from({ length: Math.floor((world.now - BEGIN) / HOUR) }, (_, i) => BEGIN + i * HOUR + HOUR / 2)
  for (const at of [...grid, ...starts.map(({ from }) => from - 1)].sort((a, b) => a - b)) {
    if (!oracle.isPromised(at)) continue
    const start = starts.findLast(({ from }) => from <= at)
    const last = needed.at(-1)
    if (start === undefined) continue
    if (last?.after === start.at) needed[needed.length - 1] = { after: start.at, through: at }
    else needed.push({ after: start.at, through: at })
  }
  for (const at of [...world.marks.values(), ...world.holds.flatMap(({ from, through }) => [from, through])]) {
    const start = starts.findLast(({ from }) => from <= at)
    if (start !== undefined) needed.push({ after: start.at, through: at })
  }
  const units = new Map<string, { first: number; last: number }[]>()
  const known = new Set<string>([
    ...timeline.snapshots.map(({ prefix }) => prefix),
    ...(timeline.condemned ?? []).map(({ key }) => key),
  ])
  for await (const entry of eachSegment(archive.sources.nodes, timeline.segments)) {
    for (const key of filesOf(entry)) known.add(key)
    const unit = 'run' in entry ? entry.run.key : entry.key
    const range = { first: ulidTime(entry.firstUlid), last: ulidTime(entry.lastUlid) }
    units.set(unit, [...(units.get(unit) ?? []), range])
  }
  // The oracle asks on the half hours: what a boundary within the hour needs is let be. A run stays as a whole.
  for (const [key, ranges] of units)
    if (
      !ranges.some(({ first, last }) =>
        needed.some(({ after, through }) => last + HOUR > after && first - HOUR <= through),
      )
    )
      throw new Error(
        `${key} (${ranges.map(({ first, last }) => `${iso(first)} to ${iso(last)}`)}) is needed by nothing, jump ${jump}`,
      )
  for await (const { keys } of replacedLists(world.store)) for (const key of keys) known.add(key)
  for await (const { key } of world.store.list('')) {
    const owner = key.startsWith('snapshot/') ? key.slice(0, key.indexOf('/', 9) + 1) : key
    if (/^(segment|snapshot)\//.test(key) && !known.has(owner)) throw new Error(`${key} is left in the store`)
  }
}

/** What is condemned, as it was seen here. */
interface Waiting {
  /** When it was seen first, in true time. */
  readonly since: number
  /** Prunings since then, it included, by a clock that was wrong. */
  readonly jumps: number
  /** Prunings by right clocks since the last of these. */
  readonly calm: number
}

/** Right clocks need so many prunings: one that finds that they disagree with what was noted, and two steps. */
const MOST_CALM = 3

/**
 * What is condemned stays for the grace, in true time, whatever one clock has shown meanwhile; and it goes once clocks are right
 * for a while.
 */
async function checkWaiting(world: RetentionWorld, waiting: Map<string, Waiting>, jump: number): Promise<void> {
  const { timeline } = await (await world.process()).refresh()
  const condemned = new Set((timeline.condemned ?? []).map(({ key }) => key))
  for (const [key, { since, jumps }] of waiting) {
    if (condemned.has(key)) continue
    waiting.delete(key)
    if (jumps + (jump === 0 ? 0 : 1) < 2 && world.now < since + GRACE_MS)
      throw new Error(`${key} went after ${world.now - since} ms`)
  }
  for (const key of condemned) {
    const { since, jumps, calm } = waiting.get(key) ?? { since: world.now, jumps: 0, calm: 0 }
    const next = jump === 0 ? { since, jumps, calm: calm + 1 } : { since, jumps: jumps + 1, calm: 0 }
    waiting.set(key, next)
    if (next.calm > MOST_CALM) throw new Error(`${key} has waited since ${iso(since)}`)
  }
}

function expectState(shown: ReadonlyMap<string, number>, expected: ReadonlyMap<string, number>, at: number): void {
  const [a, b] = [shown, expected].map((state) => JSON.stringify([...state].sort(([x], [y]) => (x < y ? -1 : 1))))
  if (a !== b) throw new Error(`${iso(at)} is ${a}, and was ${b}`)
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
