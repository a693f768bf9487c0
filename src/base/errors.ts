/** What a failure means for the person who sees it and for the program that handles it. */
export type ErrorCategory = 'caller' | 'conflict' | 'transient' | 'corrupt'

/** A stable error code; see `TidemarkError`. */
export type ErrorCode =
  | 'OPTION_INVALID'
  | 'MOMENT_INVALID'
  | 'MOMENT_UNREACHABLE'
  | 'RESOURCE_NOT_FOUND'
  | 'RECORD_NOT_FOUND'
  | 'OBJECT_NOT_FOUND'
  | 'OBJECT_EXISTS'
  | 'OBJECT_CORRUPT'
  | 'KEY_INVALID'
  | 'STORE_NOT_FOUND'
  | 'STORE_FOREIGN'
  | 'STORE_DENIED'
  | 'STORE_FULL'
  | 'STORE_UNAVAILABLE'
  | 'STORE_UNSUPPORTED'
  | 'ENCRYPTION_KEY_NEEDED'
  | 'ENCRYPTION_KEY_WRONG'
  | 'ENCRYPTION_KEY_LAST'
  | 'ENCRYPTION_FAILED'
  | 'STORE_NOT_ENCRYPTED'
  | 'SOURCE_NOT_CONNECTED'
  | 'SOURCE_UNSUPPORTED'
  | 'SOURCE_ATTACHED'
  | 'TARGET_NOT_EMPTY'
  | 'TARGET_INVALID'
  | 'TARGET_DENIED'
  | 'TARGET_FULL'
  | 'TARGET_UNAVAILABLE'
  | 'CONFIRMATION_NEEDED'
  | 'RESTORE_UNFINISHED'
  | 'SCHEMA_DIFFERS'
  | 'ADAPTER_MISSING'
  | 'JOURNAL_LOCKED'
  | 'JOURNAL_DENIED'
  | 'JOURNAL_FULL'
  | 'JOURNAL_CORRUPT'
  | 'JOURNAL_FAILED'
  | 'CAPTURE_CLOSED'
  | 'DELETE_INCOMPLETE'
  | 'STREAM_FENCED'
  | 'STREAM_NOT_FOUND'
  | 'STREAM_LIVE'
  | 'GAP_NOT_FOUND'
  | 'MARK_EXISTS'
  | 'MARK_NOT_FOUND'
  | 'HOLD_NOT_FOUND'
  | 'RETENTION_PAUSED'
  | 'TIMELINE_CORRUPT'
  | 'SEGMENT_CORRUPT'
  | 'SNAPSHOT_CORRUPT'
  | 'HISTORY_GAP'
  | 'RECORD_EXISTS'
  | 'ERASURE_RACED'
  | 'DRILL_FAILED'
  | 'ERASURE_INCOMPLETE'
  | 'RECORD_KEYS_NEEDED'
  | 'RECORD_KEYS_FOREIGN'
  | 'RECORD_KEYS_LOST'
  | 'LIMIT_EXCEEDED'

/**
 * Every error that Tidemark raises on purpose: its category, and the HTTP status that is nearest in meaning.
 * Codes are stable; programs match on them, never on the message.
 */
const CODES: Readonly<Record<ErrorCode, readonly [ErrorCategory, number]>> = {
  OPTION_INVALID: ['caller', 400],
  MOMENT_INVALID: ['caller', 400],
  MOMENT_UNREACHABLE: ['caller', 404],
  RESOURCE_NOT_FOUND: ['caller', 404],
  RECORD_NOT_FOUND: ['caller', 404],
  OBJECT_NOT_FOUND: ['caller', 404],
  OBJECT_EXISTS: ['conflict', 412],
  OBJECT_CORRUPT: ['corrupt', 422],
  KEY_INVALID: ['caller', 400],
  STORE_NOT_FOUND: ['caller', 404],
  STORE_FOREIGN: ['conflict', 409],
  STORE_DENIED: ['caller', 403],
  STORE_FULL: ['caller', 507],
  STORE_UNAVAILABLE: ['transient', 503],
  STORE_UNSUPPORTED: ['caller', 501],
  ENCRYPTION_KEY_NEEDED: ['caller', 401],
  ENCRYPTION_KEY_WRONG: ['caller', 401],
  ENCRYPTION_KEY_LAST: ['conflict', 409],
  ENCRYPTION_FAILED: ['corrupt', 500],
  STORE_NOT_ENCRYPTED: ['conflict', 409],
  SOURCE_NOT_CONNECTED: ['caller', 409],
  SOURCE_UNSUPPORTED: ['caller', 400],
  SOURCE_ATTACHED: ['conflict', 409],
  TARGET_NOT_EMPTY: ['conflict', 409],
  TARGET_INVALID: ['caller', 400],
  TARGET_DENIED: ['caller', 403],
  TARGET_FULL: ['caller', 507],
  TARGET_UNAVAILABLE: ['transient', 503],
  CONFIRMATION_NEEDED: ['caller', 409],
  RESTORE_UNFINISHED: ['conflict', 409],
  SCHEMA_DIFFERS: ['conflict', 409],
  ADAPTER_MISSING: ['caller', 501],
  JOURNAL_LOCKED: ['conflict', 423],
  JOURNAL_DENIED: ['caller', 403],
  JOURNAL_FULL: ['caller', 507],
  JOURNAL_CORRUPT: ['corrupt', 422],
  JOURNAL_FAILED: ['corrupt', 500],
  CAPTURE_CLOSED: ['caller', 409],
  DELETE_INCOMPLETE: ['conflict', 409],
  STREAM_FENCED: ['conflict', 409],
  STREAM_NOT_FOUND: ['caller', 404],
  STREAM_LIVE: ['conflict', 409],
  GAP_NOT_FOUND: ['caller', 404],
  MARK_EXISTS: ['conflict', 409],
  MARK_NOT_FOUND: ['caller', 404],
  HOLD_NOT_FOUND: ['caller', 404],
  RETENTION_PAUSED: ['conflict', 409],
  TIMELINE_CORRUPT: ['corrupt', 422],
  SEGMENT_CORRUPT: ['corrupt', 422],
  SNAPSHOT_CORRUPT: ['corrupt', 422],
  HISTORY_GAP: ['corrupt', 422],
  RECORD_EXISTS: ['conflict', 409],
  ERASURE_RACED: ['conflict', 409],
  DRILL_FAILED: ['corrupt', 422],
  ERASURE_INCOMPLETE: ['conflict', 409],
  RECORD_KEYS_NEEDED: ['caller', 400],
  RECORD_KEYS_FOREIGN: ['conflict', 409],
  RECORD_KEYS_LOST: ['corrupt', 422],
  LIMIT_EXCEEDED: ['caller', 413],
}

/** Values for programs: keys of files, nearest moments; a list has one object for each of several. Never secrets. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly object[]>>

/** Where the error came from, and anything a program may want to read besides the message. */
export interface ErrorOptions {
  /** The next thing to type or to look at, one sentence. */
  readonly hint: string
  readonly cause?: unknown
  readonly details?: ErrorDetails
}

/** On every error of this class, whichever copy of the package made it. */
const MARK = Symbol.for('tidemark.error')

/**
 * The one error class. `message` says what happened and what it means for the data, `hint` what to do next.
 * Only `retriable` errors (category `transient`) are ever retried, and only by the retry wrapper of the store.
 * `instanceof` knows it by a mark: an adapter or a store may come with a copy of this package of its own.
 */
export class TidemarkError extends Error {
  override readonly name = 'TidemarkError'
  readonly code: ErrorCode
  readonly category: ErrorCategory
  readonly status: number
  readonly retriable: boolean
  readonly hint: string
  readonly details: ErrorDetails

  static {
    // On the prototype: nobody who prints an error sees it.
    Object.defineProperty(TidemarkError.prototype, MARK, { value: true })
    Object.defineProperty(TidemarkError, Symbol.hasInstance, { value: isInstance })
  }

  constructor(code: ErrorCode, message: string, options: ErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const [category, status] = CODES[code]
    this.code = code
    this.category = category
    this.status = status
    this.retriable = category === 'transient'
    this.hint = options.hint
    this.details = options.details ?? {}
  }

  /** A plain value for `--json` and logs. */
  toJSON(): {
    code: ErrorCode
    category: ErrorCategory
    status: number
    message: string
    hint: string
    details: object
  } {
    const { code, category, status, message, hint, details } = this
    return { code, category, status, message, hint, details }
  }
}

/** Of classes that others derive, as ever: by their prototype. */
function isInstance(this: unknown, value: unknown): boolean {
  if (this !== TidemarkError) return Function.prototype[Symbol.hasInstance].call(this, value)
  return typeof value === 'object' && value !== null && MARK in value
}

/** Whether `error` is a `TidemarkError` with one of `codes`. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is TidemarkError {
  return error instanceof TidemarkError && codes.includes(error.code)
}

/** Whether an error says that a file was not there, in whatever words. */
export function isMissing(error: unknown): boolean {
  return hasCode(error, 'OBJECT_NOT_FOUND') || (error instanceof Error && hasCode(error.cause, 'OBJECT_NOT_FOUND'))
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
