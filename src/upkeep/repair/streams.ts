import { randomBytes } from 'node:crypto'
import { parseStoreLogKey } from '../../capture/store-log.ts'
import { chainStart } from '../../format/segment/chain.ts'
import type { StreamEntry } from '../../model/timeline.ts'
import { firstUlidAt, instantEnd, MIN_ULID, ulidTime } from '../../model/ulid.ts'
import type { SegmentPart } from '../run-chains.ts'

/** What is said of a host, and of a path, that nobody knows any more. */
const UNKNOWN = '(lost with the timeline)'

/** The stream of segments that were entered again: as it was known, or else what they say of it, open. */
export function continued(known: StreamEntry | undefined, entered: readonly SegmentPart[], id: string): StreamEntry {
  const start = known ?? unknownStream(id, entered)
  const last = entered.reduce<SegmentPart | null>(
    (a, b) => (a === null || b.lastSequence > a.lastSequence ? b : a),
    null,
  )
  if (last === null || last.lastSequence <= start.lastSequence) return start
  const { lastSequence, lastUlid, chain } = last
  const end = instantEnd(lastUlid)
  const sealedThrough = end > start.sealedThrough ? end : start.sealedThrough
  // Whether there is more, and whether its process lives, was lost with what told of these segments.
  return { ...start, state: 'open', lastSequence, lastUlid, chain: chain.value, sealedThrough }
}

/** Streams with frames of their journals in the store. */
export function streamsWithFrames(keys: Iterable<string>): ReadonlySet<string> {
  return new Set([...keys].flatMap((key) => parseStoreLogKey(key)?.stream ?? []))
}

/** A stream with its journal in the store, of which nothing else is known. */
export function frameStream(id: string): StreamEntry {
  return { ...unknownStream(id, []), journal: { kind: 'store' } }
}

function unknownStream(id: string, entered: readonly SegmentPart[]): StreamEntry {
  const first = entered.find(({ firstSequence }) => firstSequence === 1)
  const openedAt = first === undefined ? MIN_ULID : firstUlidAt(ulidTime(first.firstUlid))
  return {
    id,
    state: 'open',
    host: UNKNOWN,
    pid: 1,
    journal: { kind: 'disk', path: UNKNOWN },
    openedAt,
    sealedThrough: openedAt,
    lastSequence: 0,
    lastUlid: MIN_ULID,
    chain: chainStart(id),
    owner: randomBytes(8).toString('hex'),
  }
}
