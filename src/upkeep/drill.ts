import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { type DrillProof, decodeProof, encodeProof } from '../format/drill-file.ts'
import { DRILL_PREFIX, drillKey } from '../format/keys.ts'
import type { SnapshotEntry, Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { exceptionsOf } from '../restore/gaps.ts'
import type { Plan } from '../restore/plan.ts'
import { isCutOff } from '../restore/pruned.ts'
import type { ReplaySources } from '../restore/replay.ts'
import { SnapshotReader } from '../restore/snapshot-reader.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { segmentsBetween } from '../timeline/segments.ts'
import { type Reckoned, reckon } from './reckoning.ts'

/** What one drill works on. */
export interface DrillRun {
  readonly ulid: Ulid
  readonly moment: Ulid
  readonly seed: number | null
  readonly timeline: Timeline
  readonly plan: Plan
  /** Restores the plan as any restore does; returns where the files are now. */
  readonly restore: () => Promise<ObjectStore>
}

/**
 * Restores a moment for real, reckons from the events what should be there, compares, and records what was found in the
 * store. Damage that it meets is a failed drill, not an error. Errors: those of the store.
 */
export async function drillOnce(sources: ReplaySources, clock: Clock, run: DrillRun): Promise<DrillProof> {
  const { ulid, moment, seed, timeline, plan } = run
  const startedMs = clock.now()
  let restoredMs = startedMs
  let reckoned: Reckoned = { resources: [], differences: [], differing: 0 }
  let failure: DrillProof['failure'] = null
  const from = otherSnapshot(timeline, plan)
  try {
    const files = await run.restore()
    restoredMs = clock.now()
    const restored = await SnapshotReader.open(files, '', null)
    const segments = await segmentsBetween(sources.nodes, timeline.segments, from.ulid, moment)
    reckoned = await reckon({ sources, snapshot: from, segments, moment, restored })
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.category !== 'corrupt') throw error
    failure = { code: error.code, message: messageOf(error) }
  }
  const proof: DrillProof = {
    format: 1,
    ulid,
    startedAt: new Date(startedMs).toISOString(),
    moment,
    seed,
    passed: failure === null && reckoned.differing === 0,
    plan: {
      snapshot: plan.snapshot.ulid,
      reckonedFrom: from.ulid,
      segments: plan.segments.length,
      bytes: plan.bytes,
      rows: plan.rows,
    },
    restoreMs: Math.round(restoredMs - startedMs),
    compareMs: Math.round(clock.now() - restoredMs),
    ...reckoned,
    except: plan.except.map(({ acknowledged: _, ...gap }) => gap),
    failure,
  }
  await sources.store.put(drillKey(ulid), encodeProof(proof), { ifAbsent: true })
  return proof
}

/**
 * Another snapshot than the plan's from which the same state comes, the nearest before it: two ways to one state. The
 * plan's own where there is none.
 */
function otherSnapshot(timeline: Timeline, { snapshot, moment }: Plan): SnapshotEntry {
  const others = timeline.snapshots.filter(
    (other) =>
      other.ulid !== snapshot.ulid &&
      other.consistentFrom <= moment &&
      !isCutOff(timeline.pruned, other, moment) &&
      agree(timeline, other, snapshot),
  )
  return others.findLast(({ ulid }) => ulid < snapshot.ulid) ?? others[0] ?? snapshot
}

/**
 * Whether the same states come from both: nothing is missing from the earlier one until the later one is consistent, and
 * nothing was when that was made. A baseline that was taken inside a gap has seen writes that no event tells of.
 */
function agree(timeline: Timeline, one: SnapshotEntry, other: SnapshotEntry): boolean {
  const [earlier, later] = one.ulid < other.ulid ? [one, other] : [other, one]
  return later.except === undefined && exceptionsOf(timeline, earlier, later.consistentFrom).length === 0
}

/** The last drill of a store; its proof is null where the file is damaged. Null where there was none. */
export async function lastDrill(store: ObjectStore): Promise<{ ulid: Ulid; proof: DrillProof | null } | null> {
  let last: string | null = null
  for await (const { key } of store.list(DRILL_PREFIX)) last = key
  if (last === null) return null
  const proof = decodeProof(last, await store.get(last))
  return { ulid: last.slice(DRILL_PREFIX.length, DRILL_PREFIX.length + 26), proof }
}
