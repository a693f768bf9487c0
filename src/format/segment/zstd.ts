import zlib from 'node:zlib'

/*
 * Pages are compressed and decompressed by single calls. Of each Node makes a stream, whose handle has properties of its own: V8
 * takes such an object, and all that it leads to, for used until a full collection of garbage. So the buffer of every page would
 * stay that long, and full collections come whenever there are 64 MB of these.
 */

const LEVEL = { [zlib.constants.ZSTD_c_compressionLevel]: 1 }

/** Compresses at level 1; `room`: bytes that are taken for the result at a time. */
export function zstdCompress(body: Uint8Array, room: number): Uint8Array {
  const options = { chunkSize: room, params: LEVEL, info: true }
  return taken(zlib.zstdCompressSync(body, options))
}

/** Decompresses; throws where it is damaged, and where more than `most` bytes come out. */
export function zstdDecompress(body: Uint8Array, most: number): Uint8Array {
  // In one piece: with a byte more than comes out, no room is made for a second one. Of the room that a page promises, what
  // does not come out is never touched.
  const options = { chunkSize: most + 1, maxOutputLength: most, info: true }
  return taken(zlib.zstdDecompressSync(body, options))
}

/** The result of a call that was asked for its stream too, which is made to let go of the buffer. */
function taken(result: unknown): Uint8Array {
  const { buffer, engine }: { readonly buffer?: unknown; readonly engine?: unknown } = Object(result)
  if (!(buffer instanceof Uint8Array)) throw new TypeError('node:zlib did not tell its stream')
  Reflect.set(Object(engine), '_outBuffer', null)
  return buffer
}
