import { TidemarkError } from '../base/errors.ts'
import { keyringGeneration, type RecordKeys } from '../capture/record-keys.ts'
import type { Keyring } from '../format/record-keys/keyring.ts'
import type { Erasure } from '../model/erasure.ts'
import type { Image, Item } from '../model/event.ts'
import type { Timeline } from '../model/timeline.ts'
import { findStoredEvents } from '../restore/lookup.ts'
import { openedImage, openSnapshot, type ReplaySources } from '../restore/replay.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { SegmentNodes } from '../timeline/segments.ts'
import { entriesOf } from '../timeline/tree.ts'
import { type Erased, type ErasurePlan, type ErasureReason, planErasure } from './erase.ts'

/** What the key of a record is destroyed with. */
export interface KeyErasure {
  readonly sources: ReplaySources
  readonly timeline: TimelineLog
  readonly recordKeys: RecordKeys
}

/** What of a record can still be read, and one image of it as it is stored. */
interface Readable {
  readonly events: number
  readonly snapshots: number
  readonly sample: Image | null
}

/**
 * Destroys the key of a record, so that its images cannot be read any more, wherever they are; nothing in the store is
 * written again or deleted. A keyring without the key is put, the ledger of the timeline names it, which is the commit,
 * and only then the keyrings that have the key are deleted. An attempt that was broken off has erased nothing, or lacks
 * the deletion: the next one does it. Null where nothing of the record can be read, and nothing was left to delete.
 * `plan` is of the timeline `known`. Errors: `ERASURE_RACED` where the record may have been made again since, or another
 * was erased; `ERASURE_INCOMPLETE`, `RECORD_KEYS_LOST`.
 */
export async function destroyKey(
  parts: KeyErasure,
  plan: ErasurePlan,
  reason: ErasureReason,
  known: Timeline,
): Promise<Erased | null> {
  const { sources, recordKeys } = parts
  const { item } = plan
  const keyring = await recordKeys.current()
  const { sample, ...found } = await readable(sources, plan)
  if (sample === null) return finishLast(parts, keyring, item)
  const proposed = await recordKeys.propose(keyring, item, keyring.keyOf(item).incarnation)
  if (proposed === null) throw raced()
  const entry: Erasure = { ...reason, resource: item.resource, mode: 'keys', ...found, keyring: proposed.generation }
  let looked = known
  for (;;) {
    const moved = await commitUnmoved(parts.timeline, { entry, keyring, looked })
    if (moved === null) break
    // A record that was made again meanwhile is sealed with the same key, which must not go then.
    const { segments, snapshots } = await planErasure(sources, await newIn(sources.nodes, moved, looked), item)
    if (segments.length + snapshots.length > 0) throw raced()
    looked = moved
  }
  const keeping = await recordKeys.keeping()
  await recordKeys.destroyOld()
  if (openedImage(sources, item, sample) === null) return { entry, keeping }
  throw new Error('the key of a record that was erased is still in force')
}

/** The last step of an erasure of this record that was broken off before it; null where there was none. */
async function finishLast({ timeline, recordKeys }: KeyErasure, keyring: Keyring, item: Item): Promise<Erased | null> {
  const keeping = await recordKeys.keeping()
  if ((await recordKeys.destroyOld()) === 0 || keyring.keyOf(item).incarnation === 0) return null
  const entry = timeline.timeline.erasures.findLast((erasure) => erasure.keyring === keyring.generation)
  return entry === undefined ? null : { entry, keeping }
}

/** Enters the erasure; where files came or went since `looked`, it commits nothing and returns the timeline that has them. */
async function commitUnmoved(
  timeline: TimelineLog,
  { entry, keyring, looked }: { readonly entry: Erasure; readonly keyring: Keyring; readonly looked: Timeline },
): Promise<Timeline | null> {
  const moved: Timeline[] = []
  await timeline.commit((now) => {
    if (keyringGeneration(now) > keyring.generation) throw raced()
    const same = JSON.stringify(filesOf(now)) === JSON.stringify(filesOf(looked))
    moved.splice(0, 1, ...(same ? [] : [now]))
    return same ? { erase: { entry, segments: [], snapshots: [] } } : null
  })
  return moved[0] ?? null
}

/** A timeline of nothing but the files that it did not have before; nodes that it had have none. */
async function newIn(nodes: SegmentNodes, now: Timeline, before: Timeline): Promise<Timeline> {
  const known = new Set(filesOf(before))
  const tail = now.segments.tail.filter(({ key }) => !known.has(key))
  for await (const entries of entriesOf(now.segments.nodes, nodes.read, ({ key }) => !known.has(key)))
    tail.push(...entries.filter(({ key }) => !known.has(key)))
  return { ...now, segments: { nodes: [], tail }, snapshots: now.snapshots.filter(({ prefix }) => !known.has(prefix)) }
}

/** What tells the files of two timelines apart: nodes are never changed. */
function filesOf({ segments, snapshots }: Timeline): readonly string[] {
  return [...segments.nodes, ...segments.tail].map(({ key }) => key).concat(snapshots.map(({ prefix }) => prefix))
}

/** Counts the events and snapshots with an image that the keys of the record still open. */
async function readable(sources: ReplaySources, { item, segments, snapshots }: ErasurePlan): Promise<Readable> {
  let sample: Image | null = null
  const opens = (image: Image | null): boolean => {
    if (openedImage(sources, item, image) === null) return false
    sample = image
    return true
  }
  let events = 0
  for await (const { before, after } of findStoredEvents(sources, segments, item)) {
    if (opens(before) || opens(after)) events++
  }
  let held = 0
  for (const snapshot of snapshots) {
    if (opens(await (await openSnapshot(sources, snapshot)).find(item))) held++
  }
  return { events, snapshots: held, sample }
}

function raced(): TidemarkError {
  return new TidemarkError(
    'ERASURE_RACED',
    'The record was made again while it was looked for, or another was erased. Nothing was erased.',
    { hint: 'Run the command again; a record that exists must be deleted first.' },
  )
}
