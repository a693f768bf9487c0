import { random } from './random.ts'

const SECTOR = 512

interface Pending {
  readonly at: number
  readonly bytes: Uint8Array
}

/** What became of writes that were not synced, in sectors. */
export interface Fates {
  dropped: number
  kept: number
  torn: number
}

/** The content of a file: what is durable, and the writes that are not. */
export class Inode {
  durable: Buffer
  #pending: Pending[] = []

  constructor(content: Buffer = Buffer.alloc(0)) {
    this.durable = content
  }

  /** What a reader sees while the power is on. */
  current(): Buffer {
    return this.#pending.reduce((content, { at, bytes }) => overlay(content, at, bytes), this.durable)
  }

  write(bytes: Uint8Array, at: number): void {
    this.#pending.push({ at, bytes: Uint8Array.from(bytes) })
  }

  /** Makes the bytes in `[from, to)` durable, and nothing beside them. */
  sync(from = 0, to: number = Number.POSITIVE_INFINITY): void {
    const rest: Pending[] = []
    for (const { at, bytes } of this.#pending) {
      const start = Math.min(Math.max(from - at, 0), bytes.length)
      const end = Math.min(Math.max(to - at, start), bytes.length)
      if (end > start) this.durable = overlay(this.durable, at + start, bytes.subarray(start, end))
      if (start > 0) rest.push({ at, bytes: bytes.subarray(0, start) })
      if (end < bytes.length) rest.push({ at: at + end, bytes: bytes.subarray(end) })
    }
    this.#pending = rest
  }

  /** What of the unsynced writes is on the disk after the power went: each dropped, kept, or torn sector by sector. */
  settle(seed: number, fates: Fates): Buffer {
    const next = random(seed)
    let content = this.durable
    for (const { at, bytes } of this.#pending) {
      const fate = next()
      for (let from = at; from < at + bytes.length; ) {
        const to = Math.min(at + bytes.length, (Math.floor(from / SECTOR) + 1) * SECTOR)
        const stays = fate >= 0.25 && (fate < 0.5 || next() < 0.6)
        if (stays) content = overlay(content, from, bytes.subarray(from - at, to - at))
        fates[stays ? 'kept' : 'dropped']++
        from = to
      }
      if (fate >= 0.5) fates.torn++
    }
    return content
  }
}

function overlay(content: Buffer, at: number, bytes: Uint8Array): Buffer {
  const result = Buffer.alloc(Math.max(content.length, at + bytes.length))
  content.copy(result)
  result.set(bytes, at)
  return result
}
