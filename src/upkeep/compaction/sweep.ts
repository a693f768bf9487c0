import { replacedKey } from '../../format/keys.ts'
import { ulidTime } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import type { TimelineLog } from '../../timeline/log.ts'
import { eachSegment } from '../../timeline/segments.ts'
import { type ReplacedFiles, replacedLists } from '../replaced-files.ts'
import { filesOf } from '../run-chains.ts'

/**
 * Deletes the files that merges replaced before `untilMs`, and their lists; what the timeline names stays: its merge was not
 * committed. Returns how many. Errors: those of the store.
 */
export async function sweepReplaced(store: ObjectStore, timeline: TimelineLog, untilMs: number): Promise<number> {
  const due: ReplacedFiles[] = []
  for await (const list of replacedLists(store)) {
    if (ulidTime(list.ulid) > untilMs) break
    due.push(list)
  }
  if (due.length === 0) return 0
  const named = new Set<string>()
  const { segments } = await timeline.refresh()
  for await (const entry of eachSegment(timeline.nodes.segments, segments))
    for (const key of filesOf(entry)) named.add(key)
  let deleted = 0
  for (const { ulid, keys } of due) {
    const gone = keys.filter((key) => !named.has(key))
    await store.delete(gone)
    await store.delete([replacedKey(ulid)])
    deleted += gone.length
  }
  return deleted
}

/** Whether files that were replaced wait for their time. */
export async function hasReplaced(store: ObjectStore): Promise<boolean> {
  for await (const _ of replacedLists(store)) return true
  return false
}
