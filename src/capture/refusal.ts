import { TidemarkError } from '../base/errors.ts'

/** The error of a write that was not begun, since what would record it is in no state to; `reason` is why. */
export function refusedBy(reason: unknown): unknown {
  if (!(reason instanceof TidemarkError)) return reason
  const { code, message, hint, details } = reason
  return new TidemarkError(code, `The write was refused and nothing was changed. ${message}`, {
    hint,
    cause: reason,
    details,
  })
}

/** The error of a journal that takes nothing any more. */
export function closedJournal(stream: string): TidemarkError {
  return new TidemarkError('CAPTURE_CLOSED', `The journal of stream ${stream} is closed; nothing was written.`, {
    hint: 'Connect the database again before writing to it.',
  })
}
