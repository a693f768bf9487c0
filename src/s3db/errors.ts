/*
 * What an error of a storage client says about the database. s3db.js wraps errors, twice at times, and gives the outer
 * ones names and status codes of its own; so the whole chain of causes is asked, the innermost last.
 */

/** One error of a chain, as far as the AWS SDK, Node and s3db.js fill it in. */
interface Sign {
  readonly name?: unknown
  readonly code?: unknown
  readonly Code?: unknown
  readonly statusCode?: unknown
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly attempts?: unknown } | undefined
  readonly original?: unknown
  readonly cause?: unknown
}

const DEEPEST = 8

/** Keys that the place where the database is cannot hold: too long, a NUL in them, below something that is a file. */
const IMPOSSIBLE_KEY = new Set([
  'KeyTooLongError',
  'ENAMETOOLONG',
  'ERR_INVALID_ARG_VALUE',
  'ENOTDIR',
  'InvalidObjectName',
  'XMinioInvalidObjectName',
  'InvalidURI',
])
const MISSING = new Set(['NoSuchKey', 'NotFound'])
const PRECONDITION = new Set(['PreconditionFailed', 'PRECONDITION_FAILED'])
/** What the clients of s3db.js check before they touch anything. */
const LIMITS = new Set(['MetadataLimitError'])
/** Answers after which a request may still be done, or have been. */
const UNSURE_STATUS = new Set([408, 409, 429])
const UNSURE = new Set(['RequestTimeout', 'TimeoutError', 'AbortError'])

/** Whether `error` says that an object does not exist, because there is none or because there cannot be one. */
export function isMissing(error: unknown): boolean {
  const signs = signsOf(error)
  if (says(signs, new Set(['NoSuchBucket']))) return false
  return says(signs, MISSING) || says(signs, IMPOSSIBLE_KEY) || signs.some(({ statusCode }) => statusCode === 404)
}

/** Whether `error` says that a condition of a write (`ifMatch`, `ifNoneMatch`) was not met. */
export function isPrecondition(error: unknown): boolean {
  const signs = signsOf(error)
  return says(signs, PRECONDITION) || signs.some(({ statusCode }) => statusCode === 412)
}

/**
 * Whether `error` of a write says for certain that it changed nothing. `local`: the database is memory or files, where
 * a write is several steps, so that only what is checked before the first of them is certain. Over a network the answer
 * to the only attempt decides; after an attempt that was not answered nothing is certain.
 */
export function isRefusal(error: unknown, local: boolean): boolean {
  const signs = signsOf(error)
  if (says(signs, IMPOSSIBLE_KEY)) return true
  if (local) return isPrecondition(error) || isMissing(error) || says(signs, LIMITS)
  if (says(signs, UNSURE)) return false
  const answer = signs.findLast(({ $metadata }) => typeof $metadata?.httpStatusCode === 'number')?.$metadata
  if (answer === undefined || (typeof answer.attempts === 'number' && answer.attempts > 1)) return false
  const status = Number(answer.httpStatusCode)
  return status >= 400 && status < 500 && !UNSURE_STATUS.has(status)
}

function says(signs: readonly Sign[], names: ReadonlySet<string>): boolean {
  return signs.some(({ name, code, Code }) =>
    [name, code, Code].some((value) => typeof value === 'string' && names.has(value)),
  )
}

function signsOf(error: unknown): Sign[] {
  const signs: Sign[] = []
  for (let at = error; isSign(at) && signs.length < DEEPEST; at = at.original ?? at.cause) signs.push(at)
  return signs
}

function isSign(value: unknown): value is Sign {
  return typeof value === 'object' && value !== null
}
