import { createHash } from 'node:crypto'
import type { SnapshotFile } from '../../format/manifest.ts'
import type { ByteRange, ObjectStore } from '../../store/object-store.ts'
import { wrongContent } from '../segment-check.ts'
import { type Inspection, missing, wrongHash } from './inspection.ts'

/** Hashes one file after the other of a store as they are read, from their beginning to their end and without holes. */
export class HashedFiles {
  readonly #store: ObjectStore
  /** Of a file that was given up reads may still be under way: each has its own. */
  #file = { hash: createHash('sha256'), at: 0 }
  /** What was asked for is hashed in that order, whatever comes first. */
  #hashed: Promise<void> = Promise.resolve()

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** The store, for who reads the files. */
  get store(): ObjectStore {
    const store = this.#store
    return {
      put: (key, body, options) => store.put(key, body, options),
      get: (key, range) => this.#get(key, range),
      head: (key) => store.head(key),
      list: (prefix, options) => store.list(prefix, options),
      delete: (keys) => store.delete(keys),
    }
  }

  /** A file is read from its beginning. Errors: `OBJECT_CORRUPT` where it is missing, or has not `file.bytes`. */
  async begin(key: string, file: SnapshotFile, listed: number | undefined): Promise<void> {
    this.#file = { hash: createHash('sha256'), at: 0 }
    const bytes = listed ?? (await this.#store.head(key))?.bytes // a listing may be behind
    if (bytes === undefined) throw missing(key)
    if (bytes !== file.bytes) throw wrongContent(key, `it has ${bytes} bytes, not ${file.bytes}`)
  }

  /** It was read to its end. Errors: `OBJECT_CORRUPT` where its SHA-256 is another one. */
  async end(inspection: Inspection, key: string, file: SnapshotFile): Promise<void> {
    await this.#hashed
    inspection.count(key, file.bytes)
    const { hash, at } = this.#file
    if (at !== file.bytes || hash.digest('hex') !== file.sha256) throw wrongHash(key)
  }

  #get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const read = this.#store.get(key, range)
    if (range === undefined) return read
    const [file, before] = [this.#file, this.#hashed]
    const hashed = read.then(async (bytes) => {
      await before
      file.hash.update(bytes)
      if (range.start === file.at) file.at += bytes.length
    })
    this.#hashed = hashed.catch(() => {}) // who has asked for it has the error, and does not come to the end
    return read
  }
}
