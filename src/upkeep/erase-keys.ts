import { TidemarkError } from '../base/errors.ts'
import { keyringGeneration, type RecordKeys } from '../capture/record-keys.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { Erasure } from '../model/erasure.ts'
import type { Image, Item } from '../model/event.ts'
import type { Timeline } from '../model/timeline.ts'
import { findStoredEvents } from '../restore/lookup.ts'
import { openedImage, openSnapshot, type ReplaySources } from '../restore/replay.ts'
import { type ErasurePlan, type ErasureReason, planErasure } from './erase.ts'

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
 * Errors: `ERASURE_RACED` where something was sealed since `known`, which may be the record made again; `RECORD_KEYS_LOST`.
 */
export async function destroyKey(
  sources: ReplaySources,
  timeline: TimelineLog,
  recordKeys: RecordKeys,
  { item, reason, known }: { readonly item: Item; readonly reason: ErasureReason; readonly known: Timeline },
): Promise<Erasure | null> {
  const keyring = await recordKeys.current()
  const plan = await planErasure(sources, known, item)
  const { events, snapshots, sample } = await readable(sources, plan)
  if (sample === null) {
    const destroyed = await recordKeys.destroyOld()
    const last = timeline.timeline.erasures.findLast((erasure) => erasure.keyring === keyring.generation)
    return destroyed > 0 ? (last ?? null) : null
  }
  const { incarnation } = keyring.keyOf(item)
  const next = await recordKeys.propose(keyring, item, incarnation)
  const { resource } = item
  const entry: Erasure = { ...reason, resource, mode: 'keys', events, snapshots, keyring: next.generation }
  await timeline.commit((now) => {
    if (keyringGeneration(now) > keyring.generation || !sameFiles(now, known)) throw raced()
    return { erase: { entry, segments: [], snapshots: [] } }
  })
  await recordKeys.destroyOld()
  await prove(sources, recordKeys, { item, sample, incarnation })
  return entry
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

/** Tries to read the record with everything that is left. */
async function prove(
  sources: ReplaySources,
  recordKeys: RecordKeys,
  { item, sample, incarnation }: { readonly item: Item; readonly sample: Image; readonly incarnation: number },
): Promise<void> {
  const opened = openedImage(sources, item, sample) !== null
  for (const generation of await recordKeys.generations()) {
    const keyring = await recordKeys.read(generation)
    if (!opened && (keyring === null || keyring.keyOfLife(item, incarnation) === null)) continue
    throw new TidemarkError(
      'RECORD_KEYS_LOST',
      `The key of a record that was erased can still be made from generation ${generation} of the keyring.`,
      {
        hint: 'Run the erasure again; where it says so again, look at what keeps deleted files in the place of the keyring.',
      },
    )
  }
}

/** Whether nothing came or went: what was looked at is all that there is. */
function sameFiles(now: Timeline, known: Timeline): boolean {
  const names = ({ segments, snapshots }: Timeline): string =>
    JSON.stringify([segments.map(({ key }) => key), snapshots.map(({ prefix }) => prefix)])
  return names(now) === names(known)
}

function raced(): TidemarkError {
  return new TidemarkError(
    'ERASURE_RACED',
    'Events came in while the record was looked for, or another was erased. Nothing was erased.',
    { hint: 'Run the command again.' },
  )
}
