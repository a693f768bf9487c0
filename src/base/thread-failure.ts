import { type ErrorCode, messageOf, TidemarkError } from './errors.ts'

/** An error as it goes from one thread to another. */
export interface ThreadFailure {
  /** Null: none of ours. */
  readonly code: ErrorCode | null
  readonly message: string
  readonly hint: string
  readonly details: TidemarkError['details']
}

/** What is told of an error. */
export function failureOf(error: unknown): ThreadFailure {
  const known = error instanceof TidemarkError ? error : null
  const { code = null, hint = '', details = {} } = known ?? {}
  return { code, message: messageOf(error), hint, details }
}

/** The error that was told of. */
export function toldError({ code, message, hint, details }: ThreadFailure): Error {
  return code === null ? new Error(message) : new TidemarkError(code, message, { hint, details })
}
