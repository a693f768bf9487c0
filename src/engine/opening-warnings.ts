import type { Logger } from '../base/log.ts'
import type { Source } from '../capture/source.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import type { OwnedStream } from './streams.ts'

const NO_DOOR =
  'No local socket could be made for this stream: other processes cannot ask this one for its last events, so moments ' +
  'after its last seal are out of their reach until it is closed.'

const WENT_DOWN =
  'The machine went down while the database was captured, or this is another one, and nobody syncs the files of this ' +
  'database: what was written in the last moments before may be missing from it, or be in it without being in the history. Compare them with `tidemark ' +
  'reconcile`; the history has everything that was acknowledged.'

/** What the people should know who start a capture. */
export interface WarningSeams {
  readonly source: Pick<Source, 'isUnsynced'>
  readonly log: Logger
}

/** Warns of what is not as usual. `before`: the timeline before the streams were entered anew. */
export function warnAtOpening({ source, log }: WarningSeams, before: Timeline, streams: readonly OwnedStream[]): void {
  const [own] = streams
  if (own?.door === null) log.warn({ stream: own.entry.id }, NO_DOOR)
  if (source.isUnsynced !== true) return
  const isDown = streams.some(({ entry }) => before.streams.some((one) => wentDown(one, entry)))
  if (isDown) log.warn({ streams: streams.map(({ entry }) => entry.id) }, WENT_DOWN)
}

/** Whether a stream was open when its machine went down, by how it was entered before and how it is now. */
function wentDown(before: StreamEntry, now: StreamEntry): boolean {
  const isKnown = before.boot !== undefined && now.boot !== undefined
  return before.id === now.id && before.state === 'open' && isKnown && before.boot !== now.boot
}
