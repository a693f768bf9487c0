import { TidemarkError } from '../../base/errors.ts'
import { slicesOf } from '../../base/slices.ts'
import type { Condemned, Waited } from '../../model/pruned.ts'
import type { Timeline } from '../../model/timeline.ts'
import { ulidTime } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { deleteAllowed, type Undeleted } from '../../store/refusals.ts'
import { isNoteworthy, lookedAt, provenWait, waitingFrom, waitsAnew } from '../grace.ts'
import { namedKeys } from '../named-keys.ts'
import type { PruneSeams } from './prune.ts'

/** What was deleted of what retention took out. */
export interface Swept {
  readonly files: number
  readonly bytes: number
  /** Files that the store did not let go, and what it said: they are tried again, and hold nothing else up. */
  readonly refused: readonly Undeleted[]
  /** What waits until nobody can be reading it any more. */
  readonly waiting: {
    readonly entries: number
    readonly bytes: number
    /** How many of them wait anew: by the clock here they were looked at, or taken out, at a time that has not come yet. */
    readonly anew: number
  }
}

/** Files that are deleted in one call. */
const DELETED_AT_ONCE = 1000
/** Of what waits, so much is noted by one commit: what that writes is bounded. */
const NOTED_AT_ONCE = 150

/**
 * Deletes the files of what was taken out of the timeline longer ago than the grace, as those who looked at it since have seen
 * by their clocks, of which one may be wrong: see `provenWait`. What the store refuses, such as under an object lock, stays
 * condemned. Errors: those of reading the timeline.
 */
export async function sweep(
  { store, timeline, clock }: PruneSeams,
  graceMs: number,
  signal?: AbortSignal,
): Promise<Swept> {
  const now = await timeline.refresh()
  const nowMs = Math.floor(clock.now())
  const isOld = (one: Condemned): boolean => provenWait(lookedAt(waitedOf(one), nowMs)) >= graceMs
  const [old, rest] = parted(now.condemned ?? [], isOld)
  const due = old.length === 0 ? old : await unnamed(old, now, timeline.nodes.segments)
  const refused: Undeleted[] = []
  const deleted: Condemned[] = []
  let files = 0
  for (const batch of batches(due)) {
    signal?.throwIfAborted()
    try {
      const removed = await remove(store, batch)
      files += removed.files
      deleted.push(...removed.gone)
      refused.push(...removed.refused)
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      refused.push(...batch.map(({ key }) => ({ key, message: error.message, until: null })))
    }
  }
  // What the timeline names again is condemned no more.
  const ended = [...deleted, ...old.filter((one) => !due.includes(one))].map(({ key }) => key)
  for (const endCondemned of slicesOf(ended, NOTED_AT_ONCE)) await timeline.commit(() => ({ endCondemned }))
  const waiting = rest.flatMap((one) => seenAt(one, nowMs, graceMs)).map(({ key }) => key)
  for (const keys of slicesOf(waiting, NOTED_AT_ONCE)) {
    const looked = new Set(keys)
    await timeline.commit(({ condemned = [] }) => {
      const seen = condemned.filter(({ key }) => looked.has(key)).flatMap((one) => seenAt(one, nowMs, graceMs))
      return seen.length === 0 ? null : { putCondemned: seen }
    })
  }
  const anew = rest.filter((one) => waitsAnew(waitedOf(one), nowMs)).length
  return { files, bytes: bytesOf(deleted), refused, waiting: { entries: rest.length, bytes: bytesOf(rest), anew } }
}

function waitedOf({ at, seen }: Condemned): Waited {
  return seen ?? waitingFrom(ulidTime(at))
}

/** With one look more, where that is to be noted. */
function seenAt(one: Condemned, nowMs: number, graceMs: number): readonly Condemned[] {
  const before = waitedOf(one)
  const seen = lookedAt(before, nowMs)
  return isNoteworthy(before, seen, graceMs) ? [{ ...one, seen }] : []
}

function parted<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))]
}

/**
 * Without what the timeline names all the same. What was pruned can only be named among the ranges that were, which few nodes
 * have anything of; where the timeline was repaired, all are read.
 */
async function unnamed(
  condemned: readonly Condemned[],
  { segments, snapshots, pruned = [], repairs = [] }: Timeline,
  nodes: PruneSeams['timeline']['nodes']['segments'],
): Promise<readonly Condemned[]> {
  const prefixes = new Set(snapshots.map(({ prefix }) => prefix))
  const keys = await namedKeys(nodes, segments, repairs.length > 0 ? null : pruned)
  return condemned.filter(({ key }) => !keys.has(key) && !prefixes.has(key))
}

/** Snapshots one by one, which have any number of files. */
function batches(condemned: readonly Condemned[]): readonly (readonly Condemned[])[] {
  const segments = condemned.filter(({ key }) => !key.endsWith('/'))
  return [
    ...condemned.filter(({ key }) => key.endsWith('/')).map((one) => [one]),
    ...slicesOf(segments, DELETED_AT_ONCE),
  ]
}

/** What of a batch is gone: an entry whose every file is. */
async function remove(
  store: ObjectStore,
  batch: readonly Condemned[],
): Promise<Pick<Swept, 'files' | 'refused'> & { readonly gone: readonly Condemned[] }> {
  const owners = new Map<string, Condemned>()
  for (const one of batch) {
    if (!one.key.endsWith('/')) owners.set(one.key, one)
    else for await (const { key } of store.list(one.key)) owners.set(key, one)
  }
  const refused = await deleteAllowed(store, [...owners.keys()])
  const staying = new Set(refused.map(({ key }) => owners.get(key)))
  return { files: owners.size - refused.length, refused, gone: batch.filter((one) => !staying.has(one)) }
}

function bytesOf(condemned: readonly Condemned[]): number {
  return condemned.reduce((sum, { bytes }) => sum + bytes, 0)
}
