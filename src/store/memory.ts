import { compareUtf8, concat } from '../base/bytes.ts'
import type { Keeping } from './keeping.ts'
import { checkBody, checkKey, checkRange, objectExists, objectNotFound, objectTooShort } from './keys.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

/** Objects in memory, gone with the process: for tests and trials. Bytes are copied on the way in and out. */
export class MemoryStore implements ObjectStore {
  readonly #objects = new Map<string, Uint8Array>()
  /** All keys in order, or null since a key came or went. */
  #sorted: readonly string[] | null = null

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    checkKey(key)
    checkBody(body, options)
    // Not `slice`, which of a Buffer is a view of the same bytes.
    const bytes = body instanceof Uint8Array ? Uint8Array.from(body) : await collect(body)
    const exists = this.#objects.has(key)
    if (exists && options?.ifAbsent === true) throw objectExists(key)
    this.#objects.set(key, bytes)
    if (!exists) this.#sorted = null
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    checkKey(key)
    if (range !== undefined) checkRange(range)
    const bytes = this.#objects.get(key)
    if (bytes === undefined) throw objectNotFound(key)
    if (range === undefined) return bytes.slice()
    if (range.end > bytes.length) throw objectTooShort(key, range, bytes.length)
    return bytes.slice(range.start, range.end)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key)
    const bytes = this.#objects.get(key)
    return bytes === undefined ? null : { key, bytes: bytes.length }
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    this.#sorted ??= [...this.#objects.keys()].sort(compareUtf8)
    const sorted = this.#sorted
    const { startAfter = '' } = options ?? {}
    // A key is behind `startAfter`, and not before the prefix: nothing with it is.
    const isBefore = (key: string): boolean => compareUtf8(key, startAfter) <= 0 || compareUtf8(key, prefix) < 0
    for (let at = firstNot(sorted, isBefore); at < sorted.length; at++) {
      const key = sorted[at] ?? ''
      if (!key.startsWith(prefix)) return
      const bytes = this.#objects.get(key)
      if (bytes !== undefined) yield { key, bytes: bytes.length }
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    keys.forEach(checkKey)
    for (const key of keys) if (this.#objects.delete(key)) this.#sorted = null
  }

  async keeping(): Promise<Keeping> {
    return { versions: 'none' }
  }
}

/** Index of the first key for which `isBefore` does not hold, which holds for those in front of it and for no others. */
function firstNot(sorted: readonly string[], isBefore: (key: string) => boolean): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(sorted[middle] ?? '')) low = middle + 1
    else high = middle
  }
  return low
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(Uint8Array.from(chunk))
  return concat(chunks)
}
