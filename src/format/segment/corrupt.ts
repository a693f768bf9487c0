import { TidemarkError } from '../../base/errors.ts'

/** What is thrown inside the decoders; the reader adds the name of the file. */
export class Malformed extends Error {
  override readonly name = 'Malformed'
}

/** Throws `Malformed` with `message` unless `condition` holds. */
export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Malformed(message)
}

/** The error for a segment whose bytes are not what was written. */
export function segmentCorrupt(name: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('SEGMENT_CORRUPT', `Segment ${name} is damaged: ${what}. Its events cannot be trusted.`, {
    hint: 'Keep the file, put an undamaged copy of it in its place, and run `tidemark verify`.',
    details: { key: name },
    cause,
  })
}

/** Runs a decoder; what it finds malformed becomes `SEGMENT_CORRUPT` with the name of the file. */
export function decoding<T>(name: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (error instanceof Malformed) throw segmentCorrupt(name, error.message, error)
    throw error
  }
}
