import { nonce } from '../base/bytes.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { MANIFEST_FILE, snapshotPrefix } from '../format/keys.ts'
import type { SnapshotEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import type { Plan } from '../restore/plan.ts'
import { type ReplaySources, storedChanges } from '../restore/replay.ts'
import {
  type MemberCount,
  type SnapshotOptions,
  SnapshotWriter,
  type WrittenSnapshot,
} from '../restore/snapshot-writer.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { Changes } from './changes.ts'
import { SnapshotFold } from './fold-snapshot.ts'
import { areStillThere } from './still-there.ts'

/**
 * The change that enters a snapshot, which was begun when the ledger had `began` entries; null where it has been entered.
 * Asked within each try of its commit. Errors: `ERASURE_RACED` where a record was erased since: the snapshot may hold it; or
 * where its files were taken for left over.
 */
export async function addUnerased(
  store: ObjectStore,
  present: Timeline,
  began: number,
  entry: SnapshotEntry,
): Promise<TimelineChange | null> {
  if (present.snapshots.some(({ prefix }) => prefix === entry.prefix)) return null
  if (present.erasures.length !== began) throw raced()
  if (!(await areStillThere(store, present, [entry.prefix + MANIFEST_FILE]))) throw overtaken()
  return { addSnapshots: [entry] }
}

function overtaken(): TidemarkError {
  const what = 'The snapshot took so long that its files were taken for left over by a pruning, so it was discarded.'
  return new TidemarkError('ERASURE_RACED', what, {
    hint: 'Make it again; give `tidemark prune` a --grace that is longer than a snapshot takes.',
  })
}

function raced(cause?: unknown): TidemarkError {
  return new TidemarkError('ERASURE_RACED', 'A record was erased while the snapshot was made, so it was discarded.', {
    hint: 'Make the snapshot again: `tidemark snapshot`.',
    cause,
  })
}

/**
 * Lets `work` write a snapshot and enter it. What failed for good before that, or was refused there, is taken out of the
 * store again: it can hold a record that was erased meanwhile. Who may not delete leaves it, and `verify` tells it then.
 */
export async function writeSnapshot<T>(
  options: SnapshotOptions,
  write: (writer: SnapshotWriter) => Promise<WrittenSnapshot>,
  enter: (written: WrittenSnapshot, writer: SnapshotWriter) => Promise<T>,
): Promise<T> {
  const writer = new SnapshotWriter(options)
  const discarding = async (error: unknown): Promise<never> => {
    await writer.close()
    // What went wrong is what is told; leftovers are told by a verification.
    await discard(options).catch(() => undefined)
    throw error
  }
  const written = await write(writer).catch(discarding)
  // A commit whose answer was lost may have been made: only a refusal says that it was not.
  return enter(written, writer).catch((error: unknown) =>
    hasCode(error, 'ERASURE_RACED') ? discarding(error) : Promise.reject(error),
  )
}

async function discard({ store, prefix }: SnapshotOptions): Promise<void> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  await store.delete(keys)
}

/** A snapshot as it was asked for. */
export interface TakenSnapshot extends SnapshotEntry {
  /** False where one that was there already is what was asked for: nothing happened since, or another process was first. */
  readonly isNew: boolean
  /** Members of the snapshot before that were taken over as they are stored, and those that were written. */
  readonly carried: MemberCount
  readonly written: MemberCount
}

/** When a snapshot is not to be made any more. */
export interface SnapshotTerms {
  /** Breaks it off at its next step, with its reason. */
  readonly signal?: AbortSignal
  /** Whether it is still wanted in the timeline as it is when it would be entered. Absent: always. */
  readonly isWanted?: (present: Timeline) => boolean
}

const NONE: MemberCount = { members: 0, bytes: 0 }

/**
 * Makes the snapshot of a plan's moment from the snapshot before it and the events since, without touching the
 * database: what nothing happened to is carried over as it is stored, and where nothing happened at all, the snapshot
 * before is the result. It exists when the timeline has it; files of an attempt that failed are never read.
 */
export async function takeSnapshot(
  sources: ReplaySources,
  timeline: TimelineLog,
  plan: Plan,
  database: string,
  { signal = new AbortController().signal, isWanted = () => true }: SnapshotTerms = {},
): Promise<TakenSnapshot> {
  const { moment, snapshot, segments, erasures } = plan
  if (snapshot.ulid === moment || segments.length === 0) return existing(snapshot)
  try {
    return await foldPlan(sources, timeline, plan, database, { signal, isWanted })
  } catch (error) {
    // Files that had what was erased are gone, and others are in their place.
    if (hasCode(error, 'OBJECT_NOT_FOUND') && timeline.timeline.erasures.length !== erasures) throw raced(error)
    throw error
  }
}

function existing(entry: SnapshotEntry): TakenSnapshot {
  return { ...entry, isNew: false, carried: NONE, written: NONE }
}

async function foldPlan(
  sources: ReplaySources,
  timeline: TimelineLog,
  plan: Plan,
  database: string,
  { signal, isWanted }: Required<SnapshotTerms>,
): Promise<TakenSnapshot> {
  const { moment: ulid, snapshot: last, erasures: began } = plan
  const before = await sources.snapshots.open(last)
  const changes = new Changes(storedChanges(sources, plan, before.storedBytes()))
  try {
    if ((await changes.next()) === null) return existing(last)
    const except = plan.except.map(({ acknowledged: _, ...gap }) => gap)
    const holes = except.length === 0 ? {} : { except }
    const options = { store: sources.store, prefix: snapshotPrefix(ulid, nonce()), ulid, database, ...holes }
    const write = async (writer: SnapshotWriter): Promise<WrittenSnapshot> => {
      await new SnapshotFold({ before, changes, writer, signal }).run()
      const written = await writer.finish()
      signal.throwIfAborted()
      return written
    }
    return await writeSnapshot(options, write, async (written, { counts }) => {
      const entry: SnapshotEntry = { ulid, consistentFrom: ulid, prefix: options.prefix, ...written, ...holes }
      const other = await enterWanted({ store: options.store, timeline, isWanted }, began, entry)
      if (other === null) return { ...entry, isNew: true, ...counts }
      await discard(options).catch(() => undefined) // leftovers are told by a verification
      return existing(other)
    })
  } finally {
    await changes.close()
  }
}

/** Where a snapshot is entered, and whether it still is. */
interface SnapshotEntrySeams extends Pick<Required<SnapshotTerms>, 'isWanted'> {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
}

/** Enters a snapshot; where it is not wanted any more, the one of the timeline that stands for it. */
async function enterWanted(
  { store, timeline, isWanted }: SnapshotEntrySeams,
  began: number,
  entry: SnapshotEntry,
): Promise<SnapshotEntry | null> {
  const others: SnapshotEntry[] = []
  await timeline.commit(async (present) => {
    const change = await addUnerased(store, present, began, entry)
    const other = present.snapshots.findLast(({ consistentFrom }) => consistentFrom <= entry.ulid)
    const isThere = other?.ulid === entry.ulid || !isWanted(present)
    others.splice(0, 1, ...(change !== null && isThere && other !== undefined ? [other] : []))
    return others.length > 0 ? null : change
  })
  return others[0] ?? null
}
