import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createGzip, gzip } from 'node:zlib'
import { concat } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Member } from '../format/manifest.ts'

const gzipAsync = promisify(gzip)

/** Uncompressed bytes of a member: small enough to read one for one record, large enough to compress well. */
const MEMBER_BYTES = 512 * 1024
/** Members compressed at once, on the thread pool, and their uncompressed bytes: of larger ones, one. */
const PARALLEL = 2
const PARALLEL_BYTES = 16 * 1024 * 1024
const LEVEL = 6
/** Bytes that come out of the compression of a large member at a time. */
const CHUNK_BYTES = 256 * 1024

interface PendingMember {
  readonly compressed: Promise<readonly Uint8Array[]>
  readonly records: number
  readonly uncompressed: number
  readonly firstId: string
}

/** What a finished file turned out to be. */
export interface MembersSummary {
  readonly records: number
  readonly bytes: number
  readonly uncompressedBytes: number
  readonly sha256: string
  readonly members: readonly Member[]
}

/**
 * A file of gzip members in the making: lines go in through `add`, the compressed file comes out of `body()`, which a
 * store consumes meanwhile. At most `PARALLEL` members are in flight: `add` waits where the store is slower.
 */
export class MemberFile {
  readonly #queue: PendingMember[] = []
  readonly #hash = createHash('sha256')
  readonly #members: Member[] = []
  #parts: Uint8Array[] = []
  #size = 0
  #records = 0
  #firstId = ''
  #ended = false
  #abandoned = false
  #wake: () => void = () => {}
  #room: () => void = () => {}
  #failure: unknown = null
  #allRecords = 0
  #bytes = 0
  #uncompressed = 0

  /** Adds one line, in one part or several. Rejects where the store failed meanwhile. */
  async add(id: string, parts: readonly Uint8Array[]): Promise<void> {
    if (this.#records === 0) this.#firstId = id
    this.#records++
    this.#parts.push(...parts)
    for (const part of parts) this.#size += part.length
    if (this.#size < MEMBER_BYTES) return
    if (this.#size > LIMITS.memberBytes) throw tooLarge(id, this.#size)
    this.#cut()
    while (this.#isFull() && this.#failure === null) {
      await new Promise<void>((resolve) => {
        this.#room = resolve
      })
    }
    if (this.#failure !== null) throw this.#failure
  }

  /** No line comes any more. */
  end(): void {
    if (this.#records > 0) this.#cut()
    this.#ended = true
    this.#wake()
  }

  /** Nothing comes any more, and what came is not wanted: `body()` throws, so that a store keeps nothing of it. */
  abandon(): void {
    this.#abandoned = true
    this.#wake()
  }

  /** The consumer of `body()` failed: `add` will reject with this instead of waiting for ever. */
  fail(error: unknown): void {
    this.#failure = error
    this.#room()
  }

  /** The compressed bytes, member by member; ends after `end()`. */
  async *body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#abandoned) throw new Error('the file was abandoned')
      const pending = this.#queue[0]
      if (pending === undefined) {
        if (this.#ended) return
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      const compressed = await pending.compressed
      this.#queue.shift()
      this.#room()
      yield* this.#stored(pending, compressed)
    }
  }

  *#stored({ records, firstId, uncompressed }: PendingMember, parts: readonly Uint8Array[]): Generator<Uint8Array> {
    const hash = createHash('sha256')
    let bytes = 0
    for (const part of parts) {
      hash.update(part)
      this.#hash.update(part)
      bytes += part.length
    }
    this.#members.push([this.#bytes, bytes, records, firstId, hash.digest('hex')])
    this.#allRecords += records
    this.#bytes += bytes
    this.#uncompressed += uncompressed
    yield* parts
  }

  /** After `body()` was consumed to its end. */
  summary(): MembersSummary {
    return {
      records: this.#allRecords,
      bytes: this.#bytes,
      uncompressedBytes: this.#uncompressed,
      sha256: this.#hash.copy().digest('hex'),
      members: this.#members,
    }
  }

  #isFull(): boolean {
    const bytes = this.#queue.reduce((sum, { uncompressed }) => sum + uncompressed, 0)
    return this.#queue.length > PARALLEL || (this.#queue.length > 0 && bytes > PARALLEL_BYTES)
  }

  #cut(): void {
    const compressed = compress(this.#parts, this.#size)
    compressed.catch(() => {}) // it is awaited, and thrown, in body()
    this.#queue.push({ compressed, records: this.#records, uncompressed: this.#size, firstId: this.#firstId })
    this.#parts = []
    this.#records = 0
    this.#size = 0
    this.#wake()
  }
}

/** A member, in parts where it is large: joined it would be there twice. */
async function compress(parts: readonly Uint8Array[], bytes: number): Promise<readonly Uint8Array[]> {
  if (bytes <= PARALLEL_BYTES) return [await gzipAsync(concat(parts), { level: LEVEL })]
  const compressed: Uint8Array[] = []
  await pipeline(parts, createGzip({ level: LEVEL, chunkSize: CHUNK_BYTES }), async (chunks) => {
    for await (const chunk of chunks) compressed.push(chunk)
  })
  return compressed
}

/** The error for a line that makes a member which no reader inflates. */
function tooLarge(id: string, bytes: number): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `Record ${id} makes a part of ${bytes} bytes in a snapshot, more than any reader takes (${LIMITS.memberBytes}). The snapshot was not finished.`,
    { hint: 'Its events are in the history as before; keep records smaller.', details: { id, bytes } },
  )
}
