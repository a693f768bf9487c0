import { MERGING_PREFIX, parseMergingKey, replacedKey, runPrefix } from '../../format/keys.ts'
import type { Interval } from '../../model/interval.ts'
import { newUlid, ulidTime } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { deleteAllowed, type Undeleted } from '../../store/refusals.ts'
import type { TimelineLog } from '../../timeline/log.ts'
import { namedKeys } from '../named-keys.ts'
import { putReplaced, type ReplacedFiles, replacedLists } from '../replaced-files.ts'

/** What was deleted of what merges replaced. */
export interface SweptReplaced {
  /** Files that were replaced earlier, and that nobody can be reading any more. */
  readonly deleted: number
  /** What the store did not let go: its list stays, and it is tried again. */
  readonly refused: readonly Undeleted[]
}

/** Bytes of keys that are held against the timeline together. */
const SWEPT_BYTES = 2 * 1024 * 1024

/**
 * Deletes the files that merges replaced before `untilMs`, and their lists; what the timeline names stays: its merge was not
 * committed. Errors: those of the store.
 */
export async function sweepReplaced(
  store: ObjectStore,
  timeline: TimelineLog,
  untilMs: number,
): Promise<SweptReplaced> {
  const swept = { deleted: 0, refused: [] as Undeleted[] }
  let [due, bytes]: [ReplacedFiles[], number] = [[], 0]
  const sweepDue = async (): Promise<void> => {
    const { deleted, refused } = await sweepLists(store, timeline, due)
    swept.deleted += deleted
    swept.refused.push(...refused)
    ;[due, bytes] = [[], 0]
  }
  for await (const list of replacedLists(store)) {
    if (ulidTime(list.ulid) > untilMs) break
    due.push(list)
    bytes += list.keys.reduce((sum, key) => sum + key.length, 0)
    if (bytes >= SWEPT_BYTES) await sweepDue()
  }
  if (due.length > 0) await sweepDue()
  return swept
}

async function sweepLists(
  store: ObjectStore,
  timeline: TimelineLog,
  due: readonly ReplacedFiles[],
): Promise<SweptReplaced> {
  const { segments } = await timeline.refresh()
  const named = await namedKeys(timeline.nodes.segments, segments, rangesOf(due))
  const refused: Undeleted[] = []
  let deleted = 0
  for (const { ulid, keys } of due) {
    const gone = keys.filter((key) => !named.has(key))
    const stay = await deleteAllowed(store, gone)
    deleted += gone.length - stay.length
    refused.push(...stay, ...(stay.length > 0 ? [] : await deleteAllowed(store, [replacedKey(ulid)])))
  }
  return { deleted, refused }
}

/** Where files of these lists can be named; null: anywhere. */
function rangesOf(lists: readonly ReplacedFiles[]): readonly Interval[] | null {
  const ranges = lists.flatMap(({ within }) => within ?? [])
  return ranges.length < lists.length ? null : ranges
}

/** How long after it was begun a run is taken for one that nobody will commit, milliseconds. */
const ABANDONED_MS = 86_400_000

/**
 * Lets the runs go that nobody will commit: their merges were broken off. Whoever still writes one is refused: its commit looks
 * for what is deleted here, and where it has looked before that, its generation is taken by the one that is committed
 * here. So no clock has to be right. The files go as those that were replaced. Errors: those of the store.
 */
export async function abandonRuns(store: ObjectStore, timeline: TimelineLog, nowMs: number): Promise<void> {
  for await (const { key } of store.list(MERGING_PREFIX)) {
    const run = parseMergingKey(key)
    if (run === null || ulidTime(run) > nowMs - ABANDONED_MS) continue
    // Whoever writes it has to find that out.
    if ((await deleteAllowed(store, [key])).length > 0) continue
    const { segments } = await timeline.commit(() => ({}))
    const named = await namedKeys(timeline.nodes.segments, segments, null)
    const keys: string[] = []
    for await (const file of store.list(runPrefix(run))) keys.push(file.key)
    // It was committed: what else is there is that of an erasure, which may still be at it.
    if (keys.some((one) => named.has(one))) continue
    // Of what was erased since it was begun nobody has asked whether it is in them.
    await putReplaced(store, { ulid: newUlid(nowMs), erasures: 0, keys })
  }
}

/** Whether files that were replaced wait for their time. */
export async function hasReplaced(store: ObjectStore): Promise<boolean> {
  for await (const _ of replacedLists(store)) return true
  return false
}
