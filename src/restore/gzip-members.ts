import { constants, createGunzip, createGzip, type Gunzip, type Gzip, type ZlibReset } from 'node:zlib'

/*
 * Gzip members by streams of zlib that make one after the other. A stream for each would cost its tables anew, and what it leaves
 * behind stays until a full collection of garbage: V8 takes for used what a handle of Node leads to.
 */

/** Bytes that come out at a time: less than what a member has, so that they are garbage before they are old. */
const CHUNK_BYTES = 64 * 1024
/** Streams that are kept for the next member. */
const MOST_IDLE = 2
/** Of the end of a member: CRC-32 and length of what was compressed. */
const TRAILER_BYTES = 8

/** Of the algorithms of zlib all streams can be reset; the types of Node say it of some. */
type Reused<T> = T & ZlibReset

/** Makes members of a file. */
export class Compressors {
  readonly #level: number
  readonly #idle: Reused<Gzip>[] = []
  #isClosed = false

  /** `level`: zlib's, 0 to 9. */
  constructor(level: number) {
    this.#level = level
  }

  /** A member, in parts: joined, a large one would be there twice. */
  async compress(parts: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const gzip = this.#idle.pop() ?? (createGzip({ level: this.#level, chunkSize: CHUNK_BYTES }) as Reused<Gzip>)
    const compressed: Uint8Array[] = []
    await putThrough(gzip, parts, (chunk) => compressed.push(chunk))
    const bytes = parts.reduce((sum, { length }) => sum + length, 0)
    if (inflatedBytes(compressed) !== bytes) throw new Error(`zlib made no member of ${bytes} bytes`)
    gzip.reset()
    if (this.#isClosed) gzip.close()
    else this.#idle.push(gzip)
    return compressed
  }

  /** Lets go the streams that are not at work, and the others when they are done. */
  close(): void {
    this.#isClosed = true
    for (const gzip of this.#idle.splice(0)) gzip.close()
  }
}

const idle: Reused<Gunzip>[] = []

/** The content of a member, which is said to have `bytes`; rejects where it is damaged or has not. */
export async function inflateMember(member: Uint8Array, bytes: number): Promise<Uint8Array> {
  const gunzip = idle.pop() ?? (createGunzip({ chunkSize: CHUNK_BYTES }) as Reused<Gunzip>)
  const content = Buffer.allocUnsafeSlow(bytes)
  let length = 0
  try {
    await putThrough(gunzip, [member], (chunk) => {
      if (length + chunk.length <= bytes) content.set(chunk, length)
      length += chunk.length
    })
    if (length !== bytes) throw new RangeError(`${length} bytes came out of it, not ${bytes}`)
  } catch (error) {
    gunzip.destroy()
    throw error
  }
  gunzip.reset()
  if (idle.length < MOST_IDLE) idle.push(gunzip)
  else gunzip.close()
  return content
}

/** The length of its content with which a member ends; the largest that there is fits the four bytes. */
export function inflatedBytes(parts: readonly Uint8Array[]): number {
  const end = Buffer.concat(parts.slice(-TRAILER_BYTES).map((part) => part.subarray(-TRAILER_BYTES)))
  return end.length < TRAILER_BYTES ? 0 : end.readUInt32LE(end.length - 4)
}

/** Puts parts through a stream that goes on to be used, and tells it that this was all. */
function putThrough(
  stream: Gzip | Gunzip,
  parts: readonly Uint8Array[],
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (act: () => void): void => {
      stream.off('data', onChunk).off('error', fail).off('end', ended)
      act()
    }
    const fail = (error: Error): void => done(() => reject(error))
    // What stands behind a member ends the stream, and nothing else is called then.
    const ended = (): void => fail(new RangeError('something stands behind it'))
    stream.on('data', onChunk).on('error', fail).on('end', ended)
    for (const part of parts) stream.write(part)
    stream.flush(constants.Z_FINISH, () => {
      // What it has not handed out yet goes to `onChunk` by this.
      while (stream.readableLength > 0) stream.read()
      done(resolve)
    })
  })
}
