import { createHash } from 'node:crypto'
import { TidemarkError } from '../base/errors.ts'
import type { ObjectInfo } from '../store/object-store.ts'

/** `length` bytes that differ with `seed` and do not repeat (xorshift32). */
export function pattern(length: number, seed = 0): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = (seed + 1) * 2_654_435_761
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, length)
}

/** A stream of `chunks`, broken at its end by `failure` where there is one. */
export async function* streamOf(chunks: readonly Uint8Array[], failure?: Error): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield chunk
  if (failure !== undefined) throw failure
}

/** SHA-256 of the chunks one after another, lower-case hex. */
export function hashOf(chunks: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}

/** The keys of a listing, in its order. */
export async function keysOf(listing: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of listing) keys.push(key)
  return keys
}

/** The code of the `TidemarkError` that `promise` fails with; its message and hint must say something. */
export async function fails(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return error.message !== '' && error.hint !== '' ? error.code : 'no message or hint'
  }
  return 'no error'
}
