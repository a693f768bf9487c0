import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Body, ByteRange, PutOptions } from './object-store.ts'

/** Why `key` can be no object's key (see `ObjectStore`), or null where it can. */
export function keyProblem(key: string): string | null {
  if (key === '') return 'is empty'
  if (!key.isWellFormed()) return 'holds half a surrogate pair, which has no UTF-8 form'
  if (key.includes('\0')) return 'holds a NUL character, which no file name and no S3 listing can hold'
  if (utf8(key).length > LIMITS.keyBytes) return `is longer than ${LIMITS.keyBytes} bytes`
  const wrong = key.split('/').find((segment) => !isSegment(segment))
  return wrong === undefined ? null : `has the segment '${wrong}'`
}

/** Whether keys can begin with `prefix`: where not, a listing of it is empty and needs no request. */
export function isPrefix(prefix: string): boolean {
  if (!prefix.isWellFormed() || prefix.includes('\0')) return false
  return prefix.split('/').slice(0, -1).every(isSegment)
}

function isSegment(segment: string): boolean {
  return segment !== '' && segment !== '.' && segment !== '..'
}

/** Throws `KEY_INVALID` where `key` is no key. */
export function checkKey(key: string): void {
  const problem = keyProblem(key)
  if (problem !== null) throw invalidKey(key, problem)
}

/** The error of a key that is none. */
export function invalidKey(key: string, problem: string, cause?: unknown): TidemarkError {
  const shown = key.length > 80 ? `${key.slice(0, 80)}...` : key
  return new TidemarkError('KEY_INVALID', `The key '${shown}' ${problem}; nothing was read or written.`, {
    hint: "Use segments joined by '/', none of them empty, '.' or '..', at most 1024 bytes in all.",
    cause,
    details: { key: shown },
  })
}

/** Throws `OPTION_INVALID` where `range` is no half-open range of whole bytes. */
export function checkRange(range: ByteRange): void {
  const { start, end } = range
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start) return
  throw new TidemarkError('OPTION_INVALID', `The byte range [${start}, ${end}) is not one; nothing was read.`, {
    hint: 'Give whole numbers with 0 <= start <= end.',
  })
}

/**
 * Throws `LIMIT_EXCEEDED` where nobody could read the object again, and `OPTION_INVALID` where a stream is to be put
 * conditionally: its loser could not be compared with the winner.
 */
export function checkBody(body: Body, options: PutOptions | undefined): void {
  if (body instanceof Uint8Array && body.length > LIMITS.objectBytes) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `An object of ${body.length} bytes would be larger than any reader takes.`,
      {
        hint: `Nothing was stored. Keep what is written at a time under ${LIMITS.objectBytes} bytes.`,
      },
    )
  }
  if (body instanceof Uint8Array || options?.ifAbsent !== true) return
  throw new TidemarkError('OPTION_INVALID', 'A stream cannot be put with ifAbsent; nothing was written.', {
    hint: 'Give the bytes as one Uint8Array.',
  })
}

/** The error of a key without an object. */
export function objectNotFound(key: string, cause?: unknown): TidemarkError {
  return new TidemarkError('OBJECT_NOT_FOUND', `The store has no object '${key}'.`, {
    hint: 'Check that the store is the right one: tidemark status.',
    cause,
    details: { key },
  })
}

/** The error of a conditional put that came second. */
export function objectExists(key: string, cause?: unknown): TidemarkError {
  return new TidemarkError('OBJECT_EXISTS', `The object '${key}' exists already and was left as it is.`, {
    hint: 'Another writer was first: read what it wrote and go on from there.',
    cause,
    details: { key },
  })
}

/** The error of a `range` that ends beyond the object's end. `bytes` is the object's size where it is known. */
export function objectTooShort(key: string, range: ByteRange, bytes: number | null): TidemarkError {
  const size = bytes === null ? 'is shorter' : `has only ${bytes} bytes`
  return new TidemarkError(
    'OBJECT_CORRUPT',
    `Bytes ${range.start} to ${range.end} of '${key}' were asked for, and the object ${size}: it was cut short.`,
    { hint: 'Run: tidemark verify. Put the file back from a copy; do not delete it.', details: { key, bytes } },
  )
}

/** The error of an object that is asked for as a whole, and is larger than any that Tidemark has ever written. */
export function objectTooLarge(key: string, bytes: number): TidemarkError {
  return new TidemarkError(
    'OBJECT_CORRUPT',
    `The object '${key}' has ${bytes} bytes, and none of its kind is as large: it is not what Tidemark wrote.`,
    { hint: 'Run: tidemark verify. Put the file back from a copy; do not delete it.', details: { key, bytes } },
  )
}
