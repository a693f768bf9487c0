import { equalBytes } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import type { StoredResponse } from './client.ts'
import { storedOf } from './image.ts'
import { encodeStored, type StoredObject } from './stored-object.ts'

/** What is read to be written comes back within this; older reads say too little about now. */
const MOST_AGE_MS = 1000
/** Bytes of bodies that are kept alive. */
const MOST_BYTES = 8 * 1024 * 1024
const MOST_READS = 1000
/** Keys share so many counts: a power of two. */
const COUNTS = 16_384

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
  /**
   * How many writes there had been when one of the keys that share a count was written last: all that a write of another
   * one does is that something is read once more than it need be.
   */
  readonly #lastWrites = new Float64Array(COUNTS)
  #writes = 0

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
    this.#lastWrites[countOf(key)] = ++this.#writes
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
    const lastWrite = this.#lastWrites[countOf(read.key)] ?? 0
    if (lastWrite > read.writes || sizeOf(read) > MOST_BYTES) return
    const old = this.#reads.get(read.key)
    if (old !== undefined) this.#forget(old)
    this.#reads.set(read.key, read)
    this.#bytes += sizeOf(read)
    while (this.#bytes > MOST_BYTES || this.#reads.size > MOST_READS) {
      const [oldest] = this.#reads.values()
      if (oldest !== undefined) this.#forget(oldest)
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

/** FNV-1a, of the key's UTF-16 code units. */
function countOf(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) & (COUNTS - 1)
}
