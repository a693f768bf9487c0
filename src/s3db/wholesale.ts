import { TidemarkError } from '../base/errors.ts'
import type { StorageClient } from './client.ts'
import { override } from './override.ts'

/**
 * Refuses what the clients of memory and files do to their whole storage at once, beneath every object and every lock:
 * nothing could say which writes it comes before. Returns what undoes it.
 */
export function refuseWholesale(client: StorageClient): (() => void)[] {
  const undo: (() => void)[] = []
  if (client.clear !== undefined) {
    const refusal = wholesale(
      'clear()',
      'Delete everything with deleteAll(), which is captured; or call it after db.uninstallPlugin.',
    )
    undo.push(override(client, 'clear', client.clear, () => () => Promise.reject(refusal)))
  }
  if (client.restore !== undefined) {
    const refusal = wholesale(
      'restore()',
      'Go back to a moment with tidemark.restoreAt, which is captured; or call it after db.uninstallPlugin.',
    )
    undo.push(
      override(client, 'restore', client.restore, () => () => {
        throw refusal
      }),
    )
  }
  return undo
}

function wholesale(name: string, hint: string): TidemarkError {
  return new TidemarkError(
    'SOURCE_UNSUPPORTED',
    `${name} of a storage client replaces everything beneath the capture, and would be in no history. Nothing was changed.`,
    { hint },
  )
}
