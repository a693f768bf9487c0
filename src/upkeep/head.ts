import { sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { timelineKey } from '../format/keys.ts'
import { decodeHead } from '../format/timeline-codec.ts'
import type { Head } from '../model/head.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/**
 * Whether `timeline` still goes on from the noted head. Errors: `TIMELINE_CORRUPT` where the history was rolled back to
 * before it, or is another one; what is wrong with files that the head does not name is for the rest of `verify`.
 */
export async function checkHead(store: ObjectStore, timeline: Timeline, noted: Head): Promise<void> {
  const { generation } = noted
  if (generation > timeline.generation) {
    throw forged(generation, `it ends with generation ${timeline.generation}: what came after was taken away`)
  }
  const read = (wanted: number): Promise<Uint8Array> => store.get(timelineKey(wanted))
  if (sha256(await read(generation)) !== noted.sha256) {
    throw forged(generation, 'that generation has another content now: the history was written anew')
  }
  const then = (await decodeHead(generation, read)).timeline
  for (const stream of then.streams) {
    if (!goesOn(timeline, stream)) throw forged(generation, `stream ${stream.id} does not go on from where it was`)
  }
}

/** Whether the chain of a stream still passes through where it was. */
function goesOn({ streams, segments }: Timeline, { id, lastSequence, chain }: StreamEntry): boolean {
  const now = streams.find((stream) => stream.id === id)
  if (now === undefined || now.lastSequence < lastSequence) return false
  if (now.lastSequence === lastSequence) return now.chain === chain
  return segments.some((segment) => {
    if (segment.stream !== id) return false
    const ends = segment.lastSequence === lastSequence && segment.chain.value === chain
    return ends || (segment.firstSequence === lastSequence + 1 && segment.chain.previous === chain)
  })
}

function forged(generation: number, what: string): TidemarkError {
  const key = timelineKey(generation)
  return new TidemarkError('TIMELINE_CORRUPT', `The store is not the one whose head was noted at ${key}: ${what}.`, {
    hint: 'Do not write to this store; compare it with a copy, and find out who could write to it.',
    details: { key },
  })
}
