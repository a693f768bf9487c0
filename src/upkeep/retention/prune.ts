import type { Clock } from '../../base/clock.ts'
import { hasCode, TidemarkError } from '../../base/errors.ts'
import type { PruneChange, SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { newUlid } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import type { TimelineLog } from '../../timeline/log.ts'
import { eachSegment } from '../../timeline/segments.ts'
import { expectSnapshot } from '../repair/snapshots.ts'
import { SegmentParts } from '../run-chains.ts'
import { type Damage, Inspection } from '../verify/inspection.ts'
import { isEmptyPlan, joinedPlans, type PrunePlan, planPrune, restedOn } from './plan.ts'
import { policyText, type RetentionPolicy, rulesOf } from './policy.ts'

/** What a pruning works with. */
export interface PruneSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly clock: Clock
}

/** What was pruned. */
export interface Pruned {
  readonly plan: PrunePlan
  /** Snapshots that were read back first and are damaged: nothing went on their strength, and what they replace stays. */
  readonly damage: readonly Damage[]
}

/** Files and snapshots that are taken out by one commit, but for a run of more files: what a commit writes is bounded. */
const TAKEN_AT_ONCE = 150

/** What a policy would take, as the timeline is now; reads no data. */
export async function previewPrune(seams: PruneSeams, policy: RetentionPolicy): Promise<PrunePlan> {
  return planFor(seams, await seams.timeline.refresh(), policy, new Set(), Number.POSITIVE_INFINITY)
}

/** What has been read back, and what of that is damaged. */
interface ReadBack {
  readonly sound: Set<string>
  readonly damaged: Map<string, readonly Damage[]>
}

/**
 * Takes out of the timeline what no promise needs, the oldest first; no file is deleted by it. Each commit takes what may go
 * without those after it. New before old: every snapshot that remains in the place of what goes is read back first, each file
 * against its hash. Errors: those of the store.
 */
export async function prune(seams: PruneSeams, policy: RetentionPolicy): Promise<Pruned> {
  const read: ReadBack = { sound: new Set(), damaged: new Map() }
  await seams.timeline.refresh()
  let part = await prunePart(seams, policy, read)
  let plan = part
  while (part.segments.length + part.snapshots.length >= TAKEN_AT_ONCE) {
    part = await prunePart(seams, policy, read)
    plan = joinedPlans([plan, part])
  }
  return { plan, damage: [...read.damaged.values()].flat() }
}

async function prunePart(seams: PruneSeams, policy: RetentionPolicy, { sound, damaged }: ReadBack): Promise<PrunePlan> {
  const { timeline, clock } = seams
  for (;;) {
    let plan = await planFor(seams, timeline.timeline, policy, damaged)
    const unread = (): SnapshotEntry | undefined => restedOn(plan).find(({ prefix }) => !sound.has(prefix))
    // Outside of the commit, behind which those of a capture wait.
    for (let next = unread(); next !== undefined; next = unread()) {
      const damage = await damageOf(seams.store, next)
      if (damage.length === 0) sound.add(next.prefix)
      else damaged.set(next.prefix, damage)
      if (damage.length > 0) plan = await planFor(seams, timeline.timeline, policy, damaged)
    }
    let isSettled = true
    await timeline.commit(async (now) => {
      plan = await planFor(seams, now, policy, damaged)
      isSettled = unread() === undefined
      if (!isSettled || isEmptyPlan(plan)) return null
      return { prune: changeOf(plan, policy, newUlid(clock.now())) }
    })
    if (isSettled) return plan
  }
}

function planFor(
  { store, timeline, clock }: PruneSeams,
  now: Timeline,
  policy: RetentionPolicy,
  damaged: Pick<ReadonlySet<string>, 'has'>,
  most: number = TAKEN_AT_ONCE,
): Promise<PrunePlan> {
  const input = { timeline: now, rules: rulesOf(policy), nowMs: clock.now(), damaged }
  const parts = new SegmentParts(store)
  return planPrune(input, eachSegment(timeline.nodes.segments, now.segments), (entry) => parts.of(entry), most)
}

function changeOf({ segments, snapshots, pruned, bases }: PrunePlan, policy: RetentionPolicy, at: string): PruneChange {
  // Runs go with their chain files and their indexes.
  const others = new Map<string, PruneChange['segments'][number]>()
  for (const entry of segments) {
    for (const { key, bytes } of 'run' in entry ? [entry.run, entry.run.index] : [])
      others.set(key, { ...entry, key, bytes })
  }
  const files = [...segments, ...others.values()]
  return {
    segments: files,
    snapshots,
    bases,
    at,
    pruned: pruned.map((range) => ({ ...range, at, by: policyText(policy) })),
  }
}

/** Reads every file of a snapshot; what is wrong with it. Errors: those of the store that say nothing of the file. */
async function damageOf(store: ObjectStore, entry: SnapshotEntry): Promise<readonly Damage[]> {
  const inspection = new Inspection(store, () => {})
  const listing = new Map<string, number>()
  for await (const { key, bytes } of store.list(entry.prefix)) listing.set(key, bytes)
  try {
    await expectSnapshot(inspection, entry, listing)
  } catch (error) {
    const isDamage = error instanceof TidemarkError && error.category === 'corrupt'
    if (!isDamage && !hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    inspection.found(entry.prefix, error)
  }
  return inspection.damage
}
