import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { type Chunk, encodeChunk } from './dataset.ts'

/** The events of a chunk as the journal holds them: valid until the next ones are taken. */
export type Frames = readonly Uint8Array[]

/** The lengths of the frames of each chunk. */
export type KeptFrames = readonly (readonly number[])[]

/** Writes the events of chunks to a file, so that what they were made up from is not in memory while something is measured. */
export function keepFrames(path: string, chunks: Iterable<Chunk>): KeptFrames {
  const file = openSync(path, 'w')
  const kept: number[][] = []
  for (const chunk of chunks) {
    const frames = encodeChunk(chunk)
    for (const frame of frames) writeSync(file, frame)
    kept.push(frames.map(({ length }) => length))
  }
  closeSync(file)
  return kept
}

/** What was written, a chunk after the other; then the file goes. */
export function* framesKept(path: string, kept: KeptFrames): Generator<Frames> {
  const file = openSync(path, 'r')
  let buffer = Buffer.alloc(0)
  for (const lengths of kept) {
    const bytes = lengths.reduce((sum, length) => sum + length, 0)
    if (bytes > buffer.length) buffer = Buffer.allocUnsafeSlow(bytes)
    for (let at = 0; at < bytes; ) at += readSync(file, buffer, at, bytes - at, null)
    let end = 0
    yield lengths.map((length) => {
      end += length
      return buffer.subarray(end - length, end)
    })
  }
  closeSync(file)
  rmSync(path)
}
