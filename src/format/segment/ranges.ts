import type { ColumnChunk } from './footer.ts'

/** Bytes of a file, `[start, end)`, and the chunks that lie in them. */
export interface Fetch {
  readonly start: number
  readonly end: number
  readonly chunks: readonly ColumnChunk[]
}

/** A hole between two chunks up to this size is fetched with them: a request costs more than these bytes. */
export const HOLE_BYTES = 16_384
/** The same where most of the file is read: then requests cost more than bytes. */
export const SCAN_HOLE_BYTES = 262_144

/** The fewest ranges that hold all `chunks` without fetching a hole of more than `holeBytes`. */
export function planFetches(chunks: readonly ColumnChunk[], holeBytes: number): Fetch[] {
  const fetches: { start: number; end: number; chunks: ColumnChunk[] }[] = []
  for (const chunk of [...chunks].sort((a, b) => a.start - b.start)) {
    const last = fetches.at(-1)
    if (last !== undefined && chunk.start - last.end <= holeBytes) {
      last.end = Math.max(last.end, chunk.end)
      last.chunks.push(chunk)
    } else fetches.push({ start: chunk.start, end: chunk.end, chunks: [chunk] })
  }
  return fetches
}
