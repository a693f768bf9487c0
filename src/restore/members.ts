import { createHash } from 'node:crypto'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Member } from '../format/manifest.ts'
import { Compressors, inflatedBytes } from './gzip-members.ts'

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

/** How hard members are compressed: of what is kept, and of what somebody waits for, in a third of the time and 6 % larger. */
export const LEVELS = { kept: 6, waitedFor: 3 } as const

interface PendingMember {
  readonly compressed: Promise<readonly Uint8Array[]>
  readonly records: number
  readonly uncompressed: number
  readonly firstId: string
  /** Of the compressed bytes, where it is known. */
  readonly sha256: string | null
}

/** Lines up to so many bytes are copied together: of many, as of an array of views, nothing else would stay small. */
const COPIED_LINE = 64 * 1024

/** Bytes for such lines that are made room for at once: of a file with little in it, little. */
const LEAST_ROOM = 16 * 1024
const MOST_ROOM = MEMBER_BYTES + COPIED_LINE

/** Lines that are to be one member. */
class MemberLines {
  readonly #parts: Uint8Array[] = []
  records = 0
  bytes = 0
  firstId = ''
  readonly #free: Buffer[]
  readonly #rooms: Buffer[] = []
  #room: Buffer | null = null
  /** What of the room is not among the parts yet; what is behind it is free. */
  #start = 0
  #end = 0

  /** `free`: rooms in which nothing is needed any more, which are used first. */
  constructor(free: Buffer[]) {
    this.#free = free
  }

  add(part: Uint8Array): void {
    this.bytes += part.length
    if (part.length > COPIED_LINE) {
      this.#close()
      this.#parts.push(part)
      return
    }
    if (this.#room === null || this.#end + part.length > this.#room.length) {
      this.#close()
      this.#room = this.#roomFor(part.length)
      this.#start = this.#end = 0
    }
    this.#room.set(part, this.#end)
    this.#end += part.length
  }

  /** The parts, joined as far as they were copied together. */
  all(): readonly Uint8Array[] {
    this.#close()
    return this.#parts
  }

  /** Nobody needs the parts any more. */
  letGo(): void {
    this.#free.push(...this.#rooms.filter(({ length }) => length === MOST_ROOM))
  }

  #roomFor(bytes: number): Buffer {
    const least = Math.min(MOST_ROOM, Math.max(LEAST_ROOM, bytes, 4 * this.bytes))
    const room = this.#free.pop() ?? Buffer.allocUnsafeSlow(least)
    this.#rooms.push(room)
    return room
  }

  #close(): void {
    if (this.#room !== null && this.#end > this.#start) this.#parts.push(this.#room.subarray(this.#start, this.#end))
    this.#start = this.#end
  }
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
  readonly #compressors: Compressors
  readonly #queue: PendingMember[] = []
  readonly #hash = createHash('sha256')
  readonly #members: Member[] = []
  /** Enough for a member; it is cut once there is enough behind it, so that no small one is left over. */
  #front: MemberLines | null = null
  /** Of lines whose member is made. */
  readonly #free: Buffer[] = []
  #back = new MemberLines(this.#free)
  #ended = false
  #abandoned = false
  #wake: () => void = () => {}
  /** Called when there is room for another member. */
  #made: () => void = () => {}
  #failure: unknown = null
  #allRecords = 0
  #bytes = 0
  #uncompressed = 0

  constructor(level: number) {
    this.#compressors = new Compressors(level)
  }

  /**
   * Adds one line, in one part or several. Null where there is room for more at once, as behind most lines: nothing is waited
   * for then. Rejects where the store failed meanwhile.
   */
  add(id: string, parts: readonly Uint8Array[]): Promise<void> | null {
    const back = this.#back
    if (back.records === 0) back.firstId = id
    back.records++
    for (const part of parts) back.add(part)
    if (back.bytes < MEMBER_BYTES && this.#gathered < MOST_BYTES) return null
    if (back.bytes > LIMITS.memberBytes) return Promise.reject(tooLarge(id, back.bytes))
    this.#cutFull()
    return this.#room()
  }

  /** Whether a member can be carried now: no lines are waiting, or enough for a member of their own. */
  get canCarry(): boolean {
    return this.#gathered === 0 || this.#gathered >= LEAST_BYTES
  }

  /** Adds a member of another file as it stands there; its lines come behind those that were added. Rejects as `add`. */
  async carry({ bytes, records, firstId, sha256 }: StoredMember): Promise<void> {
    this.#cutRest()
    const compressed = Promise.resolve([bytes])
    this.#push({ compressed, records, uncompressed: inflatedBytes([bytes]), firstId, sha256 })
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
    try {
      for (let pending = await this.#next(); pending !== null; pending = await this.#next()) {
        const compressed = await pending.compressed
        this.#queue.shift()
        this.#made()
        yield* this.#stored(pending, compressed)
      }
    } finally {
      this.#compressors.close()
    }
  }

  /** The first of the queue, once there is one; null at the end. */
  async #next(): Promise<PendingMember | null> {
    for (;;) {
      if (this.#abandoned) throw new Error('the file was abandoned')
      const [pending] = this.#queue
      if (pending !== undefined) return pending
      if (this.#ended) return null
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
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
    this.#back = new MemberLines(this.#free)
  }

  #cutRest(): void {
    const [front, back] = [this.#front, this.#back]
    this.#front = null
    this.#back = new MemberLines(this.#free)
    if (front === null) {
      if (back.records > 0) this.#cut(back)
      return
    }
    this.#cut(front, back)
  }

  #cut(...lines: readonly [MemberLines, ...MemberLines[]]): void {
    const [{ firstId }] = lines
    const sum = (of: 'bytes' | 'records'): number => lines.reduce((total, one) => total + one[of], 0)
    const [bytes, records] = [sum('bytes'), sum('records')]
    const compressed = this.#compressors.compress(lines.flatMap((one) => one.all()))
    compressed.then(
      () => {
        for (const one of lines) one.letGo()
      },
      () => {}, // it is awaited, and thrown, in body()
    )
    this.#push({ compressed, records, uncompressed: bytes, firstId, sha256: null })
  }

  #push(member: PendingMember): void {
    this.#queue.push(member)
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
