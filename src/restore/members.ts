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
/**
 * Bounds of a member that was written again with a change in it. So far apart that one more record cuts none in two, and
 * two that were cut are not joined again: members stay few however often single records of a file come and go.
 */
const LEAST_BYTES = MEMBER_BYTES / 2
const MOST_BYTES = MEMBER_BYTES + LEAST_BYTES
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
  /** Of the compressed bytes, where it is known. */
  readonly sha256: string | null
}

/** Lines that are to be one member. */
interface Lines {
  readonly parts: Uint8Array[]
  records: number
  bytes: number
  firstId: string
}

/** A member of another file as it stands there: its hash has been checked. */
export interface StoredMember {
  /** Where it stands there. */
  readonly offset: number
  readonly bytes: Uint8Array
  readonly records: number
  readonly firstId: string
  readonly sha256: string
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
  /** Enough for a member; it is cut once there is enough behind it, so that no small one is left over. */
  #front: Lines | null = null
  #back: Lines = noLines()
  #ended = false
  #abandoned = false
  #wake: () => void = () => {}
  /** Called when there is room for another member. */
  #made: () => void = () => {}
  #failure: unknown = null
  #allRecords = 0
  #bytes = 0
  #uncompressed = 0

  /** Adds one line, in one part or several. Rejects where the store failed meanwhile. */
  async add(id: string, parts: readonly Uint8Array[]): Promise<void> {
    const back = this.#back
    if (back.records === 0) back.firstId = id
    back.records++
    back.parts.push(...parts)
    for (const part of parts) back.bytes += part.length
    if (back.bytes < MEMBER_BYTES && this.#gathered < MOST_BYTES) return
    if (back.bytes > LIMITS.memberBytes) throw tooLarge(id, back.bytes)
    this.#cutFull()
    await this.#room()
  }

  /** Whether a member can be carried now: no lines are waiting, or enough for a member of their own. */
  get canCarry(): boolean {
    return this.#gathered === 0 || this.#gathered >= LEAST_BYTES
  }

  /** Adds a member of another file as it stands there; its lines come behind those that were added. Rejects as `add`. */
  async carry({ bytes, records, firstId, sha256 }: StoredMember): Promise<void> {
    this.#cutRest()
    const compressed = Promise.resolve([bytes])
    this.#push({ compressed, records, uncompressed: inflatedBytes(bytes), firstId, sha256 })
    await this.#room()
  }

  /** No line comes any more. */
  end(): void {
    this.#cutRest()
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
    this.#made()
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
      this.#made()
      yield* this.#stored(pending, compressed)
    }
  }

  *#stored(pending: PendingMember, parts: readonly Uint8Array[]): Generator<Uint8Array> {
    const { records, firstId, uncompressed, sha256 } = pending
    const hash = sha256 === null ? createHash('sha256') : null
    let bytes = 0
    for (const part of parts) {
      hash?.update(part)
      this.#hash.update(part)
      bytes += part.length
    }
    this.#members.push([this.#bytes, bytes, records, firstId, sha256 ?? hash?.digest('hex') ?? ''])
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

  async #room(): Promise<void> {
    while (this.#isFull() && this.#failure === null) {
      await new Promise<void>((resolve) => {
        this.#made = resolve
      })
    }
    if (this.#failure !== null) throw this.#failure
  }

  #isFull(): boolean {
    const bytes = this.#queue.reduce((sum, { uncompressed }) => sum + uncompressed, 0)
    return this.#queue.length > PARALLEL || (this.#queue.length > 0 && bytes > PARALLEL_BYTES)
  }

  get #gathered(): number {
    return (this.#front?.bytes ?? 0) + this.#back.bytes
  }

  /** Cuts what need not wait for what comes next. */
  #cutFull(): void {
    if (this.#front !== null && this.#gathered >= MOST_BYTES) {
      this.#cut(this.#front)
      this.#front = null
    }
    if (this.#back.bytes < MEMBER_BYTES) return
    // What is larger than any of two that it could be cut into is not kept waiting: a line alone may be huge.
    if (this.#back.bytes >= MOST_BYTES) this.#cut(this.#back)
    else this.#front = this.#back
    this.#back = noLines()
  }

  #cutRest(): void {
    const [front, back] = [this.#front, this.#back]
    this.#front = null
    this.#back = noLines()
    if (front === null) {
      if (back.records > 0) this.#cut(back)
      return
    }
    for (const part of back.parts) front.parts.push(part)
    this.#cut({ ...front, records: front.records + back.records, bytes: front.bytes + back.bytes })
  }

  #cut({ parts, bytes, records, firstId }: Lines): void {
    const compressed = compress(parts, bytes)
    compressed.catch(() => {}) // it is awaited, and thrown, in body()
    this.#push({ compressed, records, uncompressed: bytes, firstId, sha256: null })
  }

  #push(member: PendingMember): void {
    this.#queue.push(member)
    this.#wake()
  }
}

function noLines(): Lines {
  return { parts: [], records: 0, bytes: 0, firstId: '' }
}

/** A gzip member ends with its inflated length; the largest that there is fits the four bytes. */
function inflatedBytes(member: Uint8Array): number {
  if (member.length < 4) return 0 // no reader inflates it
  return Buffer.from(member.buffer, member.byteOffset, member.length).readUInt32LE(member.length - 4)
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
