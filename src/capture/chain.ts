import { type Image, type Item, SoundImage, sameImage } from '../model/event.ts'
import type { Version } from '../model/fold.ts'
import type { Finding } from '../model/found.ts'
import type { Ulid } from '../model/ulid.ts'
import { nameOf } from './locks.ts'

/** What the chain asks. */
export interface ChainSeams {
  /**
   * Whether no other stream can hold an event after `ulid`, as far as is known without asking the store: nobody waits
   * for it while an item is locked.
   */
  readonly isAloneSince: (ulid: Ulid) => boolean
  /** A stamp after every event so far and before every later one. */
  readonly mark: () => Ulid
}

/** Bytes of images that are remembered. */
const MOST_BYTES = 16 * 1024 * 1024
/** What an entry costs besides its images. */
const ENTRY_BYTES = 200

interface Remembered extends Version {
  readonly bytes: number
}

/**
 * The last known state of the items written last. Each write reads the state before it: where that is not the last
 * known one, and no other process can have captured what came between, something wrote around the capture. All calls
 * for an item are made under its lock.
 */
export class Chain {
  readonly #seams: ChainSeams
  readonly #mostBytes: number
  /** The least recently noted first. */
  readonly #entries = new Map<string, Remembered>()
  #bytes = 0

  constructor(seams: ChainSeams, mostBytes: number = MOST_BYTES) {
    this.#seams = seams
    this.#mostBytes = mostBytes
  }

  /** The last known state of an item; undefined where none is remembered. */
  imageOf(item: Item): Image | null | undefined {
    return this.#entries.get(nameOf(item))?.image
  }

  /** The items whose state is not what the chain says, where no other process can have written it. */
  breaks(items: readonly Item[], states: readonly (Image | null)[]): readonly Finding[] {
    let found: Finding[] | null = null
    for (const [index, item] of items.entries()) {
      const known = this.#entries.get(nameOf(item))
      const after = states[index] ?? null
      if (known === undefined || sameImage(known.image, after) || !this.#seams.isAloneSince(known.ulid)) continue
      found ??= []
      const { kind, resource, id } = item
      const interval = { after: known.ulid, before: this.#seams.mark() }
      found.push({ kind, resource, id, before: known.image, after, interval })
    }
    return found ?? []
  }

  /** Forgets items that are written without an event. */
  forget(items: readonly Item[]): void {
    for (const item of items) {
      const name = nameOf(item)
      this.#bytes -= this.#entries.get(name)?.bytes ?? 0
      this.#entries.delete(name)
    }
  }

  /** Remembers the state that an event left behind. */
  note(item: Item, image: Image | null, ulid: Ulid): void {
    const name = nameOf(item)
    const bytes = ENTRY_BYTES + 2 * name.length + (image?.json.length ?? 0) + (image?.raw?.length ?? 0)
    const old = this.#entries.get(name)
    if (old !== undefined) {
      this.#entries.delete(name)
      this.#bytes -= old.bytes
    }
    if (bytes > this.#mostBytes) return
    this.#entries.set(name, { image: image === null ? null : own(image), ulid, bytes })
    this.#bytes += bytes
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#mostBytes) break
      this.#entries.delete(oldest)
      this.#bytes -= entry.bytes
    }
  }
}

/** An image that keeps no larger buffer alive: encoders cut theirs from pools. */
function own(image: Image): Image {
  const json = ownBytes(image.json)
  const raw = image.raw === null ? null : ownBytes(image.raw)
  return image instanceof SoundImage ? new SoundImage(json, raw) : { json, raw }
}

function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}
