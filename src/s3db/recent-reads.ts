import { equalBytes } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import type { StoredResponse } from './client.ts'
import { encodeStored, type StoredObject, storedOf } from './image.ts'

/** What is read to be written comes back within this; older reads say too little about now. */
const MOST_AGE_MS = 1000
/** Bytes of bodies that are kept alive. */
const MOST_BYTES = 8 * 1024 * 1024
const MOST_READS = 1000
/** Keys of which it is known when they were written last. */
const MOST_WRITES = 10_000

/** A read that was begun: when, and after how many writes. */
interface BegunRead {
  readonly key: string
  readonly at: number
  readonly writes: number
}

interface Read extends BegunRead {
  readonly response: StoredResponse
  /** Undefined where the object has no body. */
  readonly bytes: Uint8Array | undefined
}

/**
 * What the application itself has read a moment ago, through to the body. s3db.js reads a record before it updates or
 * deletes it; where that is what the chain says, the state before the write is known without reading it again. A read
 * counts once, and only where it was begun after the last captured write of the object was over.
 */
export class RecentReads {
  /** The oldest first. */
  readonly #reads = new Map<string, Read>()
  #bytes = 0
  /** How many writes there had been when each of these keys was written last; the oldest first. */
  readonly #lastWrites = new Map<string, number>()
  #writes = 0
  /** Of keys that are not among them any more, the last may have been this one. */
  #forgottenWrites = 0

  /** Remembers what `read` gives, a read of `key` by the application. */
  async watch(key: string, read: () => Promise<StoredResponse>): Promise<StoredResponse> {
    const begun = { key, at: systemClock.now(), writes: this.#writes }
    const response = await read()
    if (response.ContentLength === 0) this.#remember({ ...begun, response, bytes: undefined })
    else this.#watchBody(begun, response)
    return response
  }

  /**
   * The object that was read of a key, if its encoded form is `raw`; it is forgotten. Null where nothing confirms that the
   * database held it a moment ago.
   */
  take(key: string, raw: Uint8Array): StoredObject | null {
    const found = this.#reads.get(key)
    if (found === undefined) return null
    this.#forget(found)
    const age = systemClock.now() - found.at
    if (age < 0 || age > MOST_AGE_MS) return null
    const stored = storedOf(found.response, found.bytes)
    return equalBytes(encodeStored(stored), raw) ? stored : null
  }

  /** A captured write of a key is over: what was read before, or is being read, says nothing any more. */
  written(key: string): void {
    const found = this.#reads.get(key)
    if (found !== undefined) this.#forget(found)
    this.#lastWrites.delete(key)
    this.#lastWrites.set(key, ++this.#writes)
    if (this.#lastWrites.size <= MOST_WRITES) return
    const [[oldest, count] = ['', 0]] = this.#lastWrites
    this.#lastWrites.delete(oldest)
    this.#forgottenWrites = count
  }

  /** Only who reads the body to its end knows the object. */
  #watchBody(begun: BegunRead, { Body, ...rest }: StoredResponse): void {
    const read = Body?.transformToByteArray
    if (Body === undefined || read === undefined) return
    const object: { transformToByteArray?: () => Promise<Uint8Array> } = Body
    object.transformToByteArray = async () => {
      const bytes = await Reflect.apply(read, Body, [])
      this.#remember({ ...begun, response: rest, bytes })
      return bytes
    }
  }

  #remember(read: Read): void {
    const lastWrite = this.#lastWrites.get(read.key) ?? this.#forgottenWrites
    if (lastWrite > read.writes || sizeOf(read) > MOST_BYTES) return
    const old = this.#reads.get(read.key)
    if (old !== undefined) this.#forget(old)
    this.#reads.set(read.key, read)
    this.#bytes += sizeOf(read)
    for (const oldest of this.#reads.values()) {
      if (this.#bytes <= MOST_BYTES && this.#reads.size <= MOST_READS) break
      this.#forget(oldest)
    }
  }

  #forget(read: Read): void {
    this.#reads.delete(read.key)
    this.#bytes -= sizeOf(read)
  }
}

function sizeOf({ bytes }: Read): number {
  return bytes?.length ?? 0
}
