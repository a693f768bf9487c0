import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { EMPTY, sha256 } from '../base/bytes.ts'
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

interface PendingMember {
  readonly compressed: Promise<Uint8Array>
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
  #lines: Uint8Array[] = []
  #size = 0
  #firstId = ''
  #ended = false
  #abandoned = false
  #wake: () => void = () => {}
  #room: () => void = () => {}
  #failure: unknown = null
  #records = 0
  #bytes = 0
  #uncompressed = 0

  /** Adds one line. Rejects where the store failed meanwhile. */
  async add(id: string, line: Uint8Array): Promise<void> {
    if (this.#lines.length === 0) this.#firstId = id
    this.#lines.push(line)
    this.#size += line.length
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
    if (this.#lines.length > 0) this.#cut()
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
      const { records, firstId } = pending
      this.#members.push([this.#bytes, compressed.length, records, firstId, sha256(compressed)])
      this.#records += pending.records
      this.#bytes += compressed.length
      this.#uncompressed += pending.uncompressed
      this.#hash.update(compressed)
      yield compressed
    }
  }

  /** After `body()` was consumed to its end. */
  summary(): MembersSummary {
    return {
      records: this.#records,
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
    const [first = EMPTY] = this.#lines
    const whole = this.#lines.length === 1 ? first : Buffer.concat(this.#lines, this.#size)
    const compressed = gzipAsync(whole, { level: LEVEL })
    compressed.catch(() => {}) // it is awaited, and thrown, in body()
    this.#queue.push({ compressed, records: this.#lines.length, uncompressed: this.#size, firstId: this.#firstId })
    this.#lines = []
    this.#size = 0
    this.#wake()
  }
}

/** The error for a line that makes a member which no reader inflates. */
function tooLarge(id: string, bytes: number): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `Record ${id} makes a part of ${bytes} bytes in a snapshot, more than any reader takes (${LIMITS.memberBytes}). The snapshot was not finished.`,
    { hint: 'Its events are in the history as before; keep records smaller.', details: { id, bytes } },
  )
}
