import type { GfsPolicy, RetentionPolicy } from '../../src/upkeep/retention/policy.ts'

/** A snapshot as the oracle sees it: from history where both times are equal. Milliseconds. */
export interface OracleSnapshot {
  readonly at: number
  readonly from: number
  /** Something is missing in it. */
  readonly isHoled: boolean
}

/** What a history is, in milliseconds. */
export interface OracleHistory {
  readonly snapshots: readonly OracleSnapshot[]
  readonly newestEvent: number
  readonly now: number
  readonly marks: readonly number[]
  readonly holds: readonly { readonly from: number; readonly through: number; readonly until: number | null }[]
}

const HOUR = 3_600_000
const DAY = 24 * HOUR

/**
 * Which moments a policy promises, told naively and by no code of the product: a moment is promised or it is not, and
 * that is asked of each one. Calendar in UTC only.
 */
export class RetentionOracle {
  readonly #history: OracleHistory
  readonly #policy: RetentionPolicy
  readonly #chosen: ReadonlySet<number>
  readonly #anchor: number
  /** Null: there is none, and everything is promised. */
  readonly #newest: number | null

  constructor(history: OracleHistory, policy: RetentionPolicy) {
    this.#history = history
    this.#policy = policy
    this.#anchor = Math.min(history.newestEvent, history.now)
    const good = history.snapshots
      .filter(({ from, isHoled }) => !isHoled && from <= history.now)
      .map(({ from }) => from)
    this.#newest = good.length === 0 ? null : Math.max(...good)
    this.#chosen = new Set([...this.#byNumber(good), ...this.#byAge(good), ...this.#byCalendar(good)])
  }

  /** Whether the moment must stay reachable, if it is. */
  isPromised(at: number): boolean {
    if (this.#newest === null || at >= this.#newest || this.#chosen.has(at)) return true
    const { window } = this.#policy
    if (window !== undefined && at >= this.#anchor - msOf(window)) return true
    const { marks, holds } = this.#history
    return (
      marks.includes(at) ||
      holds.some(({ from, through, until }) => from <= at && at <= through && (until === null || until >= this.#anchor))
    )
  }

  #byNumber(good: readonly number[]): readonly number[] {
    const { count = 0 } = this.#policy
    return count === 0 ? [] : good.toSorted((a, b) => a - b).slice(-count)
  }

  #byAge(good: readonly number[]): readonly number[] {
    const { maxAge } = this.#policy
    return maxAge === undefined ? [] : good.filter((at) => this.#anchor - at <= msOf(maxAge))
  }

  #byCalendar(good: readonly number[]): readonly number[] {
    const { gfs = {} } = this.#policy
    const found: number[] = []
    for (const tier of ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const) {
      const left = new Map<number, number>()
      for (const at of good) left.set(periodOf(tier, at), Math.max(at, left.get(periodOf(tier, at)) ?? 0))
      const periods = [...left.keys()].sort((a, b) => b - a)
      for (const period of periods.slice(0, gfs[tier] ?? 0)) found.push(left.get(period) ?? 0)
    }
    return found
  }
}

/** A number for each period, the later the greater. */
function periodOf(tier: Exclude<keyof GfsPolicy, 'timeZone'>, at: number): number {
  const date = new Date(at)
  if (tier === 'hourly') return Math.floor(at / HOUR)
  if (tier === 'daily') return Math.floor(at / DAY)
  // The first of January 1970 was a Thursday.
  if (tier === 'weekly') return Math.floor((at / DAY + 3) / 7)
  return tier === 'yearly' ? date.getUTCFullYear() : date.getUTCFullYear() * 12 + date.getUTCMonth()
}

function msOf(duration: string): number {
  return Number(duration.slice(0, -1)) * (duration.endsWith('d') ? DAY : HOUR)
}
