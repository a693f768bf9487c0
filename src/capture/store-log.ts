import { equalBytes } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { corruptFrame, frameKeepFrom, frameNumber, isWholeFrame, streamSeed } from '../format/journal-frame.ts'
import { latestBeyond } from '../store/generations.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type Retry, retrying } from '../store/retry.ts'
import type { FrameLog } from './frame-log.ts'

/** Frames that are fetched at the same time. */
const READ_AHEAD = 8
const DELETE_BATCH = 500
/** A frame waits so for a store that is away, some twenty minutes, and the writes with it. After that the journal has failed. */
const PATIENCE = { attempts: 120, baseMs: 500, capMs: 20_000 }
const NUMBER = /\/(\d{16})\.frame$/

/** Key prefix of the journal of a stream in the store. */
function storeLogPrefix(stream: string): string {
  return `journal/${stream}/`
}

/** Key of a frame in the store. */
export function storeLogKey(stream: string, frame: number): string {
  return `${storeLogPrefix(stream)}${String(frame).padStart(16, '0')}.frame`
}

/** What the key of a frame in the store says, or null where it is none. */
export function parseStoreLogKey(key: string): { readonly stream: string; readonly frame: number } | null {
  const [, stream, digits] = /^journal\/([^/]+)\/(\d{16})\.frame$/.exec(key) ?? []
  return stream === undefined || digits === undefined ? null : { stream, frame: Number(digits) }
}

/**
 * Opens the journal of a stream in the object store: one object per frame, for `ack: 'store'`. Two processes that
 * write one stream collide at the first frame, since frames are only ever put where there is none.
 * Errors: `JOURNAL_CORRUPT` where a frame that is still needed is missing, and the store's.
 */
export async function openStoreLog(store: ObjectStore, stream: string, clock: Clock = systemClock): Promise<FrameLog> {
  const retry = retrying({ ...PATIENCE, clock })
  const numbers: number[] = []
  for await (const { key } of store.list(storeLogPrefix(stream))) {
    const digits = NUMBER.exec(key)?.[1]
    if (digits !== undefined) numbers.push(Number(digits))
  }
  numbers.sort((a, b) => a - b)
  const listed = numbers.at(-1) ?? 0
  // A listing may be behind, and the frames that it leaves out were acknowledged.
  const last = await latestBeyond(store, { name: (frame) => storeLogKey(stream, frame) }, listed)
  if (last === 0) return new StoreLog(store, stream, retry, null)
  const keepFrom = Math.max(1, frameKeepFrom(await readFrame(store, stream, last)))
  await requireListed(store, stream, numbers, keepFrom, listed)
  // What an interrupted trim has left behind.
  await store.delete(numbers.filter((number) => number < keepFrom).map((number) => storeLogKey(stream, number)))
  return new StoreLog(store, stream, retry, { first: keepFrom, last })
}

/** That every frame from `first` to `last` is in the listing, or is there all the same: it may be behind in any place. */
async function requireListed(
  store: ObjectStore,
  stream: string,
  listing: readonly number[],
  first: number,
  last: number,
): Promise<void> {
  const shown = new Set(listing)
  for (let frame = first; frame <= last; frame++) {
    const key = storeLogKey(stream, frame)
    if (!shown.has(frame) && (await store.head(key)) === null) throw corruptFrame(`frame ${frame} is missing`, key)
  }
}

async function readFrame(store: ObjectStore, stream: string, number: number): Promise<Uint8Array> {
  const key = storeLogKey(stream, number)
  const frame = await store.get(key)
  if (!isWholeFrame(frame, streamSeed(stream))) {
    throw corruptFrame('its checksum is wrong, or it is of another stream', key)
  }
  if (frameNumber(frame) !== number) throw corruptFrame(`it is frame ${frameNumber(frame)}`, key)
  return frame
}

class StoreLog implements FrameLog {
  readonly missing = null
  readonly room = null
  readonly #store: ObjectStore
  readonly #stream: string
  readonly #retry: Retry
  range: { readonly first: number; readonly last: number } | null

  constructor(store: ObjectStore, stream: string, retry: Retry, range: { first: number; last: number } | null) {
    this.#store = store
    this.#stream = stream
    this.#retry = retry
    this.range = range
  }

  async append(frame: Uint8Array): Promise<void> {
    const number = frameNumber(frame)
    await this.#retry(() => this.#put(storeLogKey(this.#stream, number), frame))
    this.range = { first: this.range?.first ?? number, last: number }
  }

  async #put(key: string, frame: Uint8Array): Promise<void> {
    try {
      await this.#store.put(key, frame, { ifAbsent: true })
    } catch (error) {
      if (!hasCode(error, 'OBJECT_EXISTS')) throw error
      // A put whose answer was lost and that was tried again meets itself.
      if (!equalBytes(await this.#store.get(key), frame)) throw this.#fenced(key, error)
    }
  }

  async *read(from: number): AsyncIterable<Uint8Array> {
    const range = this.range
    if (range === null) return
    for (let start = Math.max(from, range.first); start <= range.last; start += READ_AHEAD) {
      const count = Math.min(READ_AHEAD, range.last - start + 1)
      yield* await Promise.all(
        Array.from({ length: count }, (_, index) => readFrame(this.#store, this.#stream, start + index)),
      )
    }
  }

  async trim(before: number): Promise<number> {
    const range = this.range
    if (range === null) return before
    const end = Math.min(before, range.last)
    for (let start = range.first; start < end; start += DELETE_BATCH) {
      const count = Math.min(DELETE_BATCH, end - start)
      await this.#store.delete(Array.from({ length: count }, (_, index) => storeLogKey(this.#stream, start + index)))
      this.range = { first: start + count, last: this.range?.last ?? range.last }
    }
    return this.range?.first ?? before
  }

  apart(): void {
    // Each frame is an object of its own.
  }

  async close(): Promise<void> {
    // Nothing is held open.
  }

  #fenced(key: string, cause: TidemarkError): TidemarkError {
    return new TidemarkError(
      'STREAM_FENCED',
      `Another process has taken over stream ${this.#stream}; this one may write no more events to it.`,
      {
        hint: 'Start the application again: it then gets a stream of its own. Give each process its own journal.',
        cause,
        details: { key, stream: this.#stream },
      },
    )
  }
}
