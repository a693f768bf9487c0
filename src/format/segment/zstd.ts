import zlib from 'node:zlib'
import type { PageMemory } from './page-memory.ts'
import { frameBytes } from './zstd-frame.ts'

/*
 * Pages are small and many. Node makes a context of zstd for each call, which costs more than most pages do, and whose buffer
 * stays until a full collection of garbage: V8 takes for used what a handle of Node leads to. So each thread has one context that
 * compresses and one that decompresses, and a page is one synchronous call of its handle, as pngjs and minizlib use those of zlib.
 */

const END = zlib.constants.ZSTD_e_end
const LEVEL = { [zlib.constants.ZSTD_c_compressionLevel]: 1 }
/** Room for a result, which is kept for the next one; a larger one has its own. */
const KEPT_ROOM = 8 * 1024 * 1024

/** What Node has under a stream of zstd; its types do not tell it. */
interface Handle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputBytes: number,
    output: Uint8Array,
    outputAt: number,
    outputBytes: number,
  ): void
}

type ZstdStream = zlib.ZstdCompress | zlib.ZstdDecompress

/** Puts all of `input` through, and returns how many bytes of `output` it filled. Not to be used again once it has thrown. */
export interface ZstdContext {
  put(input: Uint8Array, output: Uint8Array): number
}

/** One that makes one frame after the other by the handle of a stream. */
class HandleContext implements ZstdContext {
  readonly #stream: ZstdStream
  readonly #handle: Handle
  /** Bytes of output and of input that the last call left over. */
  readonly #left: Uint32Array

  constructor(stream: ZstdStream, handle: Handle, left: Uint32Array) {
    this.#stream = stream
    this.#handle = handle
    this.#left = left
    // The error is told by `errored`; the event comes when nobody waits for it any more.
    stream.on('error', () => {})
  }

  put(input: Uint8Array, output: Uint8Array): number {
    this.#handle.writeSync(END, input, 0, input.length, output, 0, output.length)
    if (this.#stream.errored !== null) throw this.#stream.errored
    const [free = 0, rest = 0] = this.#left
    if (rest > 0) throw new RangeError(`zstd left ${rest} of ${input.length} bytes`)
    return output.length - free
  }
}

/** The context of a stream. Where a Node to come has other handles, each frame is made by `once`: the same bytes, only slower. */
export function contextOf(stream: ZstdStream, once: (input: Uint8Array, most: number) => Uint8Array): ZstdContext {
  const { _handle: handle, _writeState: left }: { _handle?: unknown; _writeState?: unknown } = Object(stream)
  if (isHandle(handle) && left instanceof Uint32Array) return new HandleContext(stream, handle, left)
  return {
    put: (input, output) => {
      const bytes = once(input, output.length)
      output.set(bytes)
      return bytes.length
    },
  }
}

function isHandle(value: unknown): value is Handle {
  return typeof value === 'object' && value !== null && 'writeSync' in value
}

let compressor: ZstdContext | null = null
let decompressor: ZstdContext | null = null
let kept = Buffer.alloc(0)

/** Compresses at level 1, into memory that is used again: the result is valid until the next call. */
export function zstdCompress(body: Uint8Array): Uint8Array {
  // With that much room (ZSTD_COMPRESSBOUND) it is done in one go, and the frame has the length of what is in it.
  const room = roomOf(body.length + (body.length >> 8) + 128)
  const context = compressor ?? contextOf(zlib.createZstdCompress({ params: LEVEL }), compressedOnce)
  compressor = null
  const compressed = room.subarray(0, context.put(body, room))
  if (frameBytes(compressed) !== body.length) throw new Error(`zstd made no frame of ${body.length} bytes`)
  compressor = context
  return compressed
}

/** Decompresses a page of `bytes`, into `memory` where it is given; throws where it is damaged, or has more or fewer. */
export function zstdDecompress(body: Uint8Array, bytes: number, memory: PageMemory | null = null): Uint8Array {
  const stated = frameBytes(body)
  // What is no single frame that says its length is for a context of its own: it could leave another one in the middle of it.
  if (stated === null) return expectBytes(decompressedOnce(body, bytes), bytes)
  if (stated !== bytes) throw unlike(stated, bytes)
  const out = memory === null ? Buffer.allocUnsafeSlow(bytes) : memory.take(bytes)
  const context = decompressor ?? contextOf(zlib.createZstdDecompress(), decompressedOnce)
  decompressor = null
  expectBytes(out.subarray(0, context.put(body, out)), bytes)
  decompressor = context
  return out
}

function compressedOnce(body: Uint8Array): Uint8Array {
  return zlib.zstdCompressSync(body, { params: LEVEL })
}

/** Throws where more than `most` bytes come out. */
function decompressedOnce(body: Uint8Array, most: number): Uint8Array {
  return zlib.zstdDecompressSync(body, { maxOutputLength: Math.max(1, most) })
}

function expectBytes(out: Uint8Array, bytes: number): Uint8Array {
  if (out.length !== bytes) throw unlike(out.length, bytes)
  return out
}

function unlike(found: number, bytes: number): RangeError {
  return new RangeError(`${found} bytes come out of it, not ${bytes}`)
}

function roomOf(bytes: number): Buffer {
  if (bytes > KEPT_ROOM) return Buffer.allocUnsafeSlow(bytes)
  if (kept.length < bytes) kept = Buffer.allocUnsafeSlow(Math.min(KEPT_ROOM, 2 * bytes))
  return kept
}
