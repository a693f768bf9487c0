import { hasCode } from '../../base/errors.ts'
import { parseStoreLogKey, storeLogKey } from '../../capture/store-log.ts'
import { EventCursor } from '../../format/event-codec.ts'
import { decodeFrame, frameNumber, isWholeFrame, streamSeed } from '../../format/journal-frame.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { wrongContent } from '../segment-check.ts'
import type { Inspection } from './inspection.ts'

/**
 * Checks the frames of journals in the store: each whole, under its number, and none missing from the oldest on that
 * the newest needs. A writer may be at work: frames that are no longer needed go meanwhile, and that is no damage.
 */
export async function verifyFrames(inspection: Inspection, keys: Iterable<string>, store: ObjectStore): Promise<void> {
  const streams = new Map<string, number[]>()
  for (const key of keys) {
    const place = parseStoreLogKey(key)
    if (place === null) continue
    const frames = streams.get(place.stream) ?? []
    frames.push(place.frame)
    streams.set(place.stream, frames)
  }
  for (const [stream, frames] of streams)
    await verifyStream(
      inspection,
      store,
      stream,
      frames.sort((a, b) => a - b),
    )
}

async function verifyStream(
  inspection: Inspection,
  store: ObjectStore,
  stream: string,
  frames: number[],
): Promise<void> {
  const keyOf = (number: number): string => storeLogKey(stream, number)
  const there: number[] = []
  let keepFrom = Number.POSITIVE_INFINITY
  for (const number of frames) {
    const key = keyOf(number)
    await inspection.guard(key, async () => {
      const bytes = await inspection.read(key).catch(ifGone)
      if (bytes === null) return
      there.push(number)
      keepFrom = Math.min(keepFrom, number)
      checkFrame(key, stream, number, bytes)
      keepFrom = Math.max(1, decodeFrame(bytes).keepFrom)
    })
  }
  let next = keepFrom
  for (const number of [...there, ...frames.slice(-1)]) {
    if (number > next) inspection.hole(Math.max(next, await neededFrom(store, stream)), number, keyOf)
    next = Math.max(next, number + 1)
  }
}

function checkFrame(key: string, stream: string, number: number, bytes: Uint8Array): void {
  if (!isWholeFrame(bytes, streamSeed(stream))) throw wrongContent(key, 'its checksum is wrong')
  if (frameNumber(bytes) !== number) throw wrongContent(key, `it is frame ${frameNumber(bytes)}`)
  const cursor = new EventCursor(decodeFrame(bytes).events)
  while (cursor.next()) cursor.checkTexts()
}

/** The oldest frame that the newest one, as it is now, still needs. */
async function neededFrom(store: ObjectStore, stream: string): Promise<number> {
  let newest: string | null = null
  for await (const { key } of store.list(storeLogKey(stream, 0).replace(/[^/]*$/, ''))) newest = key
  if (newest === null) return Number.POSITIVE_INFINITY
  const bytes = await store.get(newest)
  return isWholeFrame(bytes, streamSeed(stream)) ? decodeFrame(bytes).keepFrom : 1
}

function ifGone(error: unknown): null {
  if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
  throw error
}
