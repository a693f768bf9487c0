import { type Image, SoundImage } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'

/** What an entry costs besides its images. */
const ENTRY_BYTES = 200
/** So many slabs share the bound: this part of it is forgotten at a time. */
const SLABS = 16
/** Stands for the length of what is not there. */
const ABSENT = -1

/** The images that were remembered at about the same time, one behind the other. */
interface Slab {
  readonly images: Buffer
  /** Of `images`. */
  used: number
  /** What its entries cost together. */
  cost: number
  readonly names: string[]
}

/** Where an image stands in its slab: its JSON, and behind that its raw form. */
interface ImagePlace {
  readonly slab: Slab
  readonly at: number
  readonly json: number
  readonly raw: number
  readonly isSound: boolean
  readonly ulid: Ulid
}

/** An image by name, and the stamp that it was given. */
export interface Remembered {
  readonly image: Image | null
  readonly ulid: Ulid
}

/**
 * The images that were noted last, bounded in bytes. They are copied into slabs, and the oldest slab goes with all that
 * is in it: a buffer of its own for each image costs the collector more than the write does, one that shares an encoder's
 * pool keeps all of that alive, and a Map that is kept in the order of use looks for its first entry behind all that
 * were taken away.
 */
export class RememberedImages {
  readonly #mostBytes: number
  readonly #entries = new Map<string, ImagePlace>()
  /** The oldest first; the last one is being filled. */
  readonly #slabs: Slab[] = []
  #bytes = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** The image is a view of what is remembered: for comparing at once, not for keeping. */
  get(name: string): Remembered | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    return { image: imageOf(entry, entry.slab.images), ulid: entry.ulid }
  }

  /** A copy of the image, to be kept; undefined where none is remembered. */
  copyOf(name: string): Image | null | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    const { slab, at, json, raw } = entry
    const own = Buffer.from(slab.images.subarray(at, at + Math.max(0, json) + Math.max(0, raw)))
    return imageOf({ ...entry, at: 0 }, own)
  }

  /** Remembers an image in place of what was remembered under this name; not one that is larger than the bound. */
  set(name: string, image: Image | null, ulid: Ulid): void {
    const json = image === null ? ABSENT : image.json.length
    const raw = image?.raw?.length ?? ABSENT
    const bytes = Math.max(0, json) + Math.max(0, raw)
    const cost = ENTRY_BYTES + 2 * name.length + bytes
    if (cost > this.#mostBytes) {
      this.#entries.delete(name)
      return
    }
    const slab = this.#slabFor(cost, bytes)
    const at = slab.used
    if (image !== null) {
      slab.images.set(image.json, at)
      if (image.raw !== null) slab.images.set(image.raw, at + json)
    }
    slab.used += bytes
    slab.cost += cost
    this.#bytes += cost
    slab.names.push(name)
    this.#entries.set(name, { slab, at, json, raw, isSound: image instanceof SoundImage, ulid })
    while (this.#bytes > this.#mostBytes) this.#forgetOldest()
  }

  delete(name: string): void {
    this.#entries.delete(name)
  }

  #slabFor(cost: number, bytes: number): Slab {
    const size = Math.ceil(this.#mostBytes / SLABS)
    const last = this.#slabs.at(-1)
    if (last !== undefined && last.cost + cost <= size && last.used + bytes <= last.images.length) return last
    const slab = { images: Buffer.allocUnsafeSlow(Math.max(size, bytes)), used: 0, cost: 0, names: [] }
    this.#slabs.push(slab)
    return slab
  }

  #forgetOldest(): void {
    const slab = this.#slabs.shift()
    if (slab === undefined) return
    this.#bytes -= slab.cost
    for (const name of slab.names) {
      // It may have been remembered again since.
      if (this.#entries.get(name)?.slab === slab) this.#entries.delete(name)
    }
  }
}

function imageOf({ at, json, raw, isSound }: Omit<ImagePlace, 'slab' | 'ulid'>, bytes: Buffer): Image | null {
  if (json === ABSENT) return null
  const readable = bytes.subarray(at, at + json)
  const stored = raw === ABSENT ? null : bytes.subarray(at + json, at + json + raw)
  return isSound ? new SoundImage(readable, stored) : { json: readable, raw: stored }
}
