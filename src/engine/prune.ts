import { durationMs } from '../base/duration.ts'
import { TidemarkError } from '../base/errors.ts'
import { isPause } from '../model/hold.ts'
import type { Timeline } from '../model/timeline.ts'
import { ulidTime } from '../model/ulid.ts'
import { type Keeping, keepingOf } from '../store/keeping.ts'
import { deletionRefused } from '../store/refusals.ts'
import { condemnLeftovers } from '../upkeep/retention/leftovers.ts'
import { isEmptyPlan, type PrunePlan } from '../upkeep/retention/plan.ts'
import { faultOf, type RetentionPolicy } from '../upkeep/retention/policy.ts'
import { type Pruned, previewPrune, prune } from '../upkeep/retention/prune.ts'
import { type Swept, sweep } from '../upkeep/retention/sweep.ts'
import type { Archive } from './archive.ts'
import { checkFlag, checkOptions, checkPositive, invalidOption } from './options.ts'

/** What is pruned. */
export interface PruneOptions {
  readonly policy: RetentionPolicy
  /**
   * How long files stay at least that nothing needs any more, for those who are reading them: `24h` (default). No single clock
   * decides when that is over: they go in the first run behind it that is not the only one to say so.
   */
  readonly grace?: string
  /** Do it. Default: false, tell only what would go. */
  readonly confirm?: boolean
}

/** What is pruned by itself, and how often. */
export interface ScheduledRetention extends RetentionPolicy {
  /** Milliseconds from the end of one run to the beginning of the next. Default: a day. */
  readonly everyMs?: number
  /** How long files stay that nothing needs any more. Default: `24h`. */
  readonly grace?: string
}

/** What a pruning takes, or would take. */
export interface PruneReport {
  readonly plan: PrunePlan
  readonly damage: Pruned['damage']
  /** What was deleted of what earlier ones took out; null where nothing was confirmed. */
  readonly swept: Swept | null
  /** What the store keeps of what is deleted: with older versions of it, a deletion frees no bytes. */
  readonly keeping: Keeping
}

/** How long files wait for those who read them, unless it is said otherwise. */
const DEFAULT_GRACE = '24h'

const POLICY_NAMES = ['window', 'gfs', 'count', 'maxAge']
const GFS_NAMES = ['hourly', 'daily', 'weekly', 'monthly', 'yearly', 'timeZone']

/** Takes what no promise needs, and deletes what was taken before the grace; see `Retention.prune`. */
export async function pruneArchive(
  { seams }: Archive,
  options: PruneOptions,
  signal?: AbortSignal,
): Promise<PruneReport> {
  checkOptions('prune', options, ['policy', 'grace', 'confirm'])
  checkFlag('prune', 'confirm', options.confirm)
  checkPolicy('prune.policy', options.policy)
  const graceMs = checkGrace('prune', options.grace)
  requireNotPaused(await seams.timeline.refresh())
  const keeping = await keepingOf(seams.store, [])
  if (options.confirm !== true)
    return { plan: await previewPrune(seams, options.policy), damage: [], swept: null, keeping }
  // What waits is deleted whether or not anything goes now.
  const pruned = await prune(seams, options.policy)
  await condemnLeftovers(seams)
  return { ...pruned, swept: await sweep(seams, graceMs, signal), keeping }
}

/** Errors: `RETENTION_PAUSED` where a repair could not tell what was promised. */
function requireNotPaused({ holds = [] }: Timeline): void {
  const pause = holds.find(isPause)
  if (pause === undefined) return
  const since = new Date(ulidTime(pause.id)).toISOString()
  throw new TidemarkError(
    'RETENTION_PAUSED',
    `Nothing was pruned: retention is paused since ${since}, because ${pause.reason}.`,
    {
      hint: `Compare with what you know: tidemark mark list; tidemark hold list. Make again what is missing. Then: tidemark hold remove ${pause.id}`,
      details: { hold: pause.id },
    },
  )
}

/** Errors: `OPTION_INVALID`. */
export function checkRetention(what: string, retention: ScheduledRetention): void {
  checkOptions(what, retention, [...POLICY_NAMES, 'everyMs', 'grace'])
  const { everyMs, grace, ...policy } = retention
  checkPositive(what, 'everyMs', everyMs)
  checkGrace(what, grace)
  checkPolicy(what, policy)
}

function checkPolicy(what: string, policy: RetentionPolicy): void {
  checkOptions(what, policy, POLICY_NAMES)
  if (policy.gfs !== undefined) checkOptions(`${what}.gfs`, policy.gfs, GFS_NAMES)
  const fault = faultOf(policy)
  if (fault !== null) throw invalidOption(what, `${fault.name}: ${fault.why}`, [fault.expected])
}

/** The grace in milliseconds. Errors: `OPTION_INVALID`. */
function checkGrace(what: string, grace: string = DEFAULT_GRACE): number {
  const ms = typeof grace === 'string' ? durationMs(grace) : null
  if (ms === null) throw invalidOption(what, 'grace is no duration', ['such as 24h'])
  return ms
}

/** A scheduled run: what is wrong is an error of the run, and what went is in the log of whoever looks. */
export async function pruneOrThrow(archive: Archive, options: PruneOptions, signal: AbortSignal): Promise<void> {
  const { plan, damage, swept } = await pruneArchive(archive, { ...options, confirm: true }, signal)
  const [damaged] = damage
  const { refused = [] } = swept ?? {}
  if (damaged === undefined && refused.length === 0) return
  if (damaged === undefined) throw deletionRefused(refused)
  const what = `${damaged.key} is damaged, and what it would replace was kept: ${damaged.message}`
  throw new TidemarkError('SNAPSHOT_CORRUPT', what, {
    hint: isEmptyPlan(plan) ? 'Run tidemark verify.' : 'Run tidemark verify; what does not depend on it was pruned.',
  })
}
