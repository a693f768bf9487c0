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
/** A file that is a directory, a medium that does not give it back, one that no program can read at once. */
const DAMAGED_FILE = new Set([
  'EISDIR',
  'EIO',
  'EBADMSG',
  'EUCLEAN',
  'ERR_FS_FILE_TOO_LARGE',
  'ERR_STRING_TOO_LONG',
  'ERR_BUFFER_TOO_LARGE',
])
/** An object that S3 has archived: it is listed, and can be replaced and deleted. */
const ARCHIVED = new Set(['InvalidObjectState'])
const DENIED_FILE = new Set(['EACCES', 'EPERM'])
/** Answers after which a request may still be done, or have been. */
const UNSURE_STATUS = new Set([408, 409, 429])
const UNSURE = new Set(['RequestTimeout', 'TimeoutError', 'AbortError'])

/** Whether `error` says that an object does not exist, because there is none or because there cannot be one. */
export function isMissing(error: unknown): boolean {
  const signs = signsOf(error)
  if (says(signs, new Set(['NoSuchBucket']))) return false
  return says(signs, MISSING) || says(signs, IMPOSSIBLE_KEY) || signs.some(({ statusCode }) => statusCode === 404)
}

/** S3 holds keys of so many bytes at most. */
const MOST_KEY_BYTES = 1024
/** Answers that say nothing about the key. */
const ABOUT_OTHERS = new Set([401, 403, ...UNSURE_STATUS])

/**
 * Whether a server refuses to hear of `key` because no object can have it: each has an error of its own for keys that
 * are too long or hold a NUL. `error` is of reading it over a network.
 */
export function isRefusedKey(error: unknown, key: string): boolean {
  if (Buffer.byteLength(key) <= MOST_KEY_BYTES && !key.includes('\0')) return false
  const status = statusOf(signsOf(error))
  return status !== null && status >= 400 && status < 500 && !ABOUT_OTHERS.has(status)
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
  const status = statusOf(signs)
  if (status === null || signs.some(({ $metadata }) => Number($metadata?.attempts) > 1)) return false
  return status >= 400 && status < 500 && !UNSURE_STATUS.has(status)
}

/**
 * Whether `error` of a read says that this object is there and cannot be read, now or later, while the database itself
 * answers: its metadata file is no JSON, or no object, for example. Without Tidemark it can be replaced and deleted.
 */
export function isDamage(error: unknown, local: boolean): boolean {
  const signs = signsOf(error)
  if (!local) return says(signs, ARCHIVED)
  // s3db.js gives the name `InvalidObjectState` to EISDIR and ENOTDIR as well.
  return signs.some((sign) => sign instanceof SyntaxError || sign instanceof TypeError) || says(signs, DAMAGED_FILE)
}

/** Whether `error` says that this process may not read a file: who may write to its directory can replace it. */
export function isDenied(error: unknown, local: boolean): boolean {
  return local && says(signsOf(error), DENIED_FILE)
}

/** Why an object cannot be read, as its client says it, from the cause where there is one. */
export function reasonOf(error: unknown): string {
  const innermost = signsOf(error).findLast((sign) => sign instanceof Error)
  return innermost instanceof Error ? innermost.message : String(error)
}

/** The status of the answer that the AWS SDK had, null where there was none. */
function statusOf(signs: readonly Sign[]): number | null {
  const answered = signs.findLast(({ $metadata }) => typeof $metadata?.httpStatusCode === 'number')
  return answered === undefined ? null : Number(answered.$metadata?.httpStatusCode)
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
