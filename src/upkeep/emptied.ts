import { TidemarkError } from '../base/errors.ts'
import type { Item } from '../model/event.ts'
import type { Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { findVersion } from '../restore/lookup.ts'
import { type Plan, planRestore } from '../restore/plan.ts'
import { Segments } from '../restore/segments.ts'
import { Snapshots } from '../restore/snapshots.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type SegmentNodes, segmentNodes } from '../timeline/segments.ts'

/** What a database has as long as it is there, records or not. */
const DATABASE: Item = { kind: 'schema', resource: '', id: '' }

/**
 * Sees that a database in which nothing at all was found is one that was emptied, as its history tells, and not one whose
 * disk is not mounted: that would become the truth. `through` is a stamp up to which the timeline has everything. Errors:
 * `SOURCE_NOT_CONNECTED`.
 */
export async function requireEmptied(
  store: ObjectStore,
  timeline: Timeline,
  through: Ulid,
  name: string,
): Promise<void> {
  const nodes = segmentNodes(store)
  const plan = await planIfAny(nodes, timeline, through)
  if (plan === null) return
  const sources = {
    store,
    segments: new Segments(store),
    snapshots: new Snapshots(store),
    nodes,
    memory: 0,
    scratch,
    open: null,
  }
  const version = await findVersion(sources, plan, DATABASE)
  if (version === null || version.image === null) return
  throw new TidemarkError(
    'SOURCE_NOT_CONNECTED',
    `Nothing at all is at ${name}, and its history has schemas and records: no baseline was taken of it.`,
    {
      hint: 'See that its disk is mounted. If it was emptied on purpose, `tidemark reconcile --record` makes that part of the history.',
      details: { source: name },
    },
  )
}

/** One item is looked up without any. */
function scratch(): never {
  throw new Error('a lookup of one item needs no scratch space')
}

/** Null where no snapshot or a gap is in the way: then nobody knows what there was. */
async function planIfAny(nodes: SegmentNodes, timeline: Timeline, through: Ulid): Promise<Plan | null> {
  try {
    return await planRestore(nodes, timeline, through)
  } catch (error) {
    if (error instanceof TidemarkError) return null
    throw error
  }
}
