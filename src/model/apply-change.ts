import type { Hold } from './hold.ts'
import type { Mark } from './mark.ts'
import { type Condemned, joinedRanges, type StreamBase } from './pruned.ts'
import { isSealed, sealedRanges, withRanges, withSealed } from './sealed-ranges.ts'
import type {
  Epoch,
  ErasureChange,
  Heads,
  PruneChange,
  SnapshotEntry,
  StreamEntry,
  StreamSegment,
  Timeline,
  TimelineChange,
} from './timeline.ts'

/** The timeline after `change`: pure, the only way in which a timeline moves on. What replaces segments of nodes is for `replaced` of the catalogue. */
export function applyChange(timeline: Timeline, change: TimelineChange): Timeline {
  const added = newSegments(timeline, change.addSegments ?? [])
  const { nodes, tail } = timeline.segments
  const next: Timeline = {
    generation: timeline.generation + 1,
    epochs: withEpochs(timeline.epochs, change),
    streams: withStreams(timeline.streams, change.putStreams ?? [], added),
    segments: added.length === 0 ? timeline.segments : { nodes, tail: [...tail, ...added] },
    snapshots: withSnapshots(timeline.snapshots, change.addSnapshots ?? []),
    losses: appended(timeline.losses, change.addLosses),
    acknowledgements: appended(timeline.acknowledgements, change.addAcknowledgements),
    erasures: timeline.erasures,
    ...(timeline.repairs === undefined ? {} : { repairs: timeline.repairs }),
    ...withHeads(timeline.forgotten, change.forget),
    ...withMarks(timeline.marks, change),
    ...withHolds(timeline.holds, change),
    ...(timeline.pruned === undefined ? {} : { pruned: timeline.pruned }),
    ...withCondemned(timeline.condemned, change),
  }
  const erased = change.erase === undefined ? next : withErasure(next, change.erase)
  return change.prune === undefined ? erased : withoutPruned(erased, change.prune)
}

function appended<T>(known: readonly T[], added: readonly T[] = []): readonly T[] {
  return added.length === 0 ? known : [...known, ...added]
}

function withEpochs(known: readonly Epoch[], { addEpoch, endRestores = 0 }: TimelineChange): readonly Epoch[] {
  const epochs = addEpoch === undefined ? known : [...known, addEpoch]
  return epochs.map((epoch) => {
    const { restoring, ...finished } = epoch
    return restoring === undefined || epoch.epoch > endRestores ? epoch : finished
  })
}

/** A commit whose answer was lost may be made again: what is in the timeline is not added twice, whatever its key is. */
function newSegments({ streams, segments }: Timeline, added: readonly StreamSegment[]): readonly StreamSegment[] {
  if (added.length === 0) return added
  const theirs = new Set(added.map(({ stream }) => stream))
  const ranges = new Map(streams.filter(({ id }) => theirs.has(id)).map((stream) => [stream.id, sealedRanges(stream)]))
  const keys = new Set(segments.tail.map(({ key }) => key))
  return added.filter((entry) => !keys.has(entry.key) && !isSealed(ranges.get(entry.stream) ?? [], entry))
}

function withStreams(
  known: readonly StreamEntry[],
  put: readonly StreamEntry[],
  added: readonly StreamSegment[],
): readonly StreamEntry[] {
  if (put.length === 0 && added.length === 0) return known
  const putById = new Map(put.map((stream) => [stream.id, stream]))
  const bySegments = Map.groupBy(added, ({ stream }) => stream)
  const changed = (stream: StreamEntry, old: StreamEntry | undefined): StreamEntry => {
    const ranges = old === undefined ? [] : sealedRanges(old)
    // Whoever puts a stream has its own view of it, and knows of no pruning.
    return withSealed(withBase(stream, old?.base), withRanges(ranges, bySegments.get(stream.id) ?? []))
  }
  const isNew = new Set(putById.keys())
  const streams = known.map((old) => {
    isNew.delete(old.id)
    const stream = putById.get(old.id)
    return stream === undefined && !bySegments.has(old.id) ? old : changed(stream ?? old, old)
  })
  const fresh = [...putById.values()].filter(({ id }) => isNew.has(id)).map((stream) => changed(stream, undefined))
  return fresh.length === 0 ? streams : [...streams, ...fresh].sort(byId)
}

function byId(a: StreamEntry, b: StreamEntry): number {
  return a.id < b.id ? -1 : 1
}

function withSnapshots(known: readonly SnapshotEntry[], added: readonly SnapshotEntry[]): readonly SnapshotEntry[] {
  const ulids = new Set(known.map(({ ulid }) => ulid))
  const fresh = added.filter(({ ulid }) => !ulids.has(ulid))
  return fresh.length === 0 ? known : [...known, ...fresh].sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
}

function withHeads(known: readonly Heads[] | undefined, added: Heads | undefined): Pick<Timeline, 'forgotten'> {
  if (added === undefined) return known === undefined ? {} : { forgotten: known }
  return { forgotten: [...(known ?? []).filter(({ first }) => first !== added.first), added] }
}

function withMarks(
  known: readonly Mark[] | undefined,
  { putMark, removeMark }: TimelineChange,
): Pick<Timeline, 'marks'> {
  if (known === undefined && putMark === undefined) return {}
  if (known !== undefined && putMark === undefined && removeMark === undefined) return { marks: known }
  const kept = (known ?? []).filter(({ name }) => name !== putMark?.name && name !== removeMark)
  const marks = putMark === undefined ? kept : [...kept, putMark].sort((a, b) => (a.name < b.name ? -1 : 1))
  return marks.length === 0 ? {} : { marks }
}

function withHolds(known: readonly Hold[] | undefined, { addHold, endHold }: TimelineChange): Pick<Timeline, 'holds'> {
  if (known === undefined && addHold === undefined) return {}
  if (known !== undefined && addHold === undefined && endHold === undefined) return { holds: known }
  const kept = (known ?? []).filter(({ id }) => id !== addHold?.id && id !== endHold)
  const holds = addHold === undefined ? kept : [...kept, addHold].sort((a, b) => (a.id < b.id ? -1 : 1))
  return holds.length === 0 ? {} : { holds }
}

function withErasure(timeline: Timeline, { entry, segments, snapshots }: ErasureChange): Timeline {
  const segmentBy = new Map(segments.map(({ key, by }) => [key, by]))
  const snapshotBy = new Map(snapshots.map(({ prefix, by }) => [prefix, by]))
  const { nodes, tail } = timeline.segments
  return {
    ...timeline,
    segments: { nodes, tail: tail.map((segment) => segmentBy.get(segment.key) ?? segment) },
    snapshots: timeline.snapshots.map((snapshot) => snapshotBy.get(snapshot.prefix) ?? snapshot),
    erasures: [...timeline.erasures, entry],
  }
}

function withCondemned(
  known: readonly Condemned[] = [],
  { condemn = [], putCondemned = [], endCondemned = [] }: TimelineChange,
): Pick<Timeline, 'condemned'> {
  const deleted = new Set(endCondemned)
  const put = new Map(putCondemned.map((one) => [one.key, one]))
  const isTouched = deleted.size + put.size > 0
  const kept = isTouched ? known.filter(({ key }) => !deleted.has(key)).map((one) => put.get(one.key) ?? one) : known
  const condemned = condemn.length === 0 ? kept : [...kept, ...condemn].sort(byKey)
  return condemned.length === 0 ? {} : { condemned }
}

/** What stands in nodes is for `pruned` of the tree. */
function withoutPruned(timeline: Timeline, { segments, snapshots, pruned, bases, at }: PruneChange): Timeline {
  const keys = new Set(segments.map(({ key }) => key))
  const prefixes = new Set(snapshots.map(({ prefix }) => prefix))
  const gone = [...segments, ...snapshots.map(({ prefix, bytes }) => ({ key: prefix, bytes }))]
  const condemned = gone.map(({ key, bytes }): Condemned => ({ key, bytes, at }))
  const { nodes, tail } = timeline.segments
  return {
    ...timeline,
    segments: { nodes, tail: tail.filter(({ key }) => !keys.has(key)) },
    snapshots: timeline.snapshots.filter(({ prefix }) => !prefixes.has(prefix)),
    streams: timeline.streams.map((stream) => withBase(stream, bases.get(stream.id))),
    pruned: joinedRanges([...(timeline.pruned ?? []), ...pruned].sort((a, b) => (a.from < b.from ? -1 : 1))),
    condemned: [...(timeline.condemned ?? []), ...condemned].sort(byKey),
  }
}

function withBase(stream: StreamEntry, base: StreamBase | undefined): StreamEntry {
  return base === undefined || base.sequence <= (stream.base?.sequence ?? 0) ? stream : { ...stream, base }
}

function byKey(a: Condemned, b: Condemned): number {
  return a.key < b.key ? -1 : 1
}
