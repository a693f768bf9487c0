import { createHash } from 'node:crypto'
import { sha256 } from '../../base/bytes.ts'
import { openSegment, type SegmentReader } from '../../format/segment/read.ts'
import type { SegmentEntry } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { type Inspection, wrongHash } from './inspection.ts'

/** Segments up to this size are read as a whole; of a larger one a row group at a time is in memory. */
const WHOLE_BYTES = 16 * 1024 * 1024

/** A segment that is read once, in order, and hashed as it goes by. */
export interface HashedSegment {
  readonly reader: SegmentReader
  /** Reads what is left. Errors: `OBJECT_CORRUPT` where the SHA-256 of the file is another one. */
  end(): Promise<void>
}

/** Opens a segment; its row groups have to be read in order. Errors: those of `openSegment`, and `OBJECT_CORRUPT`. */
export async function openHashed(
  inspection: Inspection,
  store: ObjectStore,
  entry: SegmentEntry,
): Promise<HashedSegment> {
  const { key, bytes, footer } = entry
  if (bytes > WHOLE_BYTES) return openInParts(inspection, store, entry)
  const whole = await inspection.read(key)
  if (sha256(whole) !== entry.sha256) throw wrongHash(key)
  const read = async (start: number, end: number): Promise<Uint8Array> => whole.subarray(start, end)
  return { reader: await openSegment({ name: key, bytes, footer, read }), end: async () => {} }
}

async function openInParts(inspection: Inspection, store: ObjectStore, entry: SegmentEntry): Promise<HashedSegment> {
  const { key, bytes, footer } = entry
  const file = new FileInOrder(store, key, bytes - footer.bytes)
  const footerBytes = await store.get(key, { start: bytes - footer.bytes, end: bytes })
  let groups: readonly number[] = []
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    if (start >= bytes - footer.bytes) return footerBytes.subarray(start - bytes + footer.bytes)
    // The whole row group: what nobody asks for belongs to the hash all the same.
    const upTo = groups.find((groupEnd) => groupEnd >= end) ?? end
    return file.read(start, end, upTo)
  }
  const reader = await openSegment({ name: key, bytes, footer, read })
  groups = [...reader.rowGroups.keys()].map((index) => reader.rangeOf(index).end)
  return {
    reader,
    end: async () => {
      const hashed = await file.finish(footerBytes)
      inspection.count(key, bytes)
      if (hashed !== entry.sha256) throw wrongHash(key)
    },
  }
}

/** The bytes of a file in front of its footer, each read once. */
class FileInOrder {
  readonly #store: ObjectStore
  readonly #key: string
  readonly #end: number
  readonly #hash = createHash('sha256')
  /** What was read last, and where it begins. */
  #part: { readonly start: number; readonly end: number; readonly bytes: Promise<Uint8Array> } | null = null

  constructor(store: ObjectStore, key: string, end: number) {
    this.#store = store
    this.#key = key
    this.#end = end
  }

  /** The bytes `[start, end)`; where they were not read yet, everything from there up to `upTo` is. */
  async read(start: number, end: number, upTo: number): Promise<Uint8Array> {
    if (this.#part === null || end > this.#part.end) this.#readOn(Math.max(end, upTo))
    const { start: from, bytes } = this.#part ?? { start, bytes: Promise.resolve(new Uint8Array(0)) }
    return (await bytes).subarray(start - from, end - from)
  }

  /** SHA-256 of the whole file, in lower-case hex. */
  async finish(footer: Uint8Array): Promise<string> {
    if ((this.#part?.end ?? 0) < this.#end) this.#readOn(this.#end)
    await this.#part?.bytes
    return this.#hash.update(footer).digest('hex')
  }

  #readOn(end: number): void {
    const start = this.#part?.end ?? 0
    const bytes = this.#store.get(this.#key, { start, end }).then((read) => {
      this.#hash.update(read)
      return read
    })
    bytes.catch(() => {}) // thrown where it is awaited
    this.#part = { start, end, bytes }
  }
}
