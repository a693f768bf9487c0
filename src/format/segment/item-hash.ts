import { sha256Bytes, utf8 } from '../../base/bytes.ts'
import { type Item, KINDS } from '../../model/event.ts'
import type { Ulid } from '../../model/ulid.ts'

/**
 * Hashes items for the index of one run: the first four bytes, little endian, of SHA-256 over the run, the number of the kind (a
 * byte), the length of the resource (four bytes), the resource and the id. Whoever chooses ids does not know the run that they
 * will be in, so nobody can fill one bucket.
 */
export class ItemHasher {
  readonly #run: Uint8Array

  constructor(run: Ulid) {
    this.#run = utf8(run)
  }

  /** What stands before the id; `kind` is its index in KINDS. */
  prefix(kind: number, resource: Uint8Array): Uint8Array {
    const at = this.#run.length
    const prefix = Buffer.alloc(at + 5 + resource.length)
    prefix.set(this.#run)
    prefix[at] = kind
    prefix.writeUInt32LE(resource.length, at + 1)
    prefix.set(resource, at + 5)
    return prefix
  }

  /** Of an item. */
  hash({ kind, resource, id }: Item): number {
    return hashOf(Buffer.concat([this.prefix(KINDS.indexOf(kind), utf8(resource)), utf8(id)]))
  }
}

/** Of an item whose id stands behind its prefix. */
export function hashOf(prefixed: Uint8Array): number {
  const hash = sha256Bytes(prefixed)
  return new DataView(hash.buffer, hash.byteOffset, 4).getUint32(0, true)
}
