import { type ErrorCode, TidemarkError } from '../base/errors.ts'
import { fileError } from './filesystem-errors.ts'
import type { ObjectStore } from './object-store.ts'
import { translatedStore } from './translated-store.ts'

/** A directory that a restore fills, as an object store: what fails says so of the target, and not of a backup store. */
export function targetStore(inner: ObjectStore, path: string): ObjectStore {
  return translatedStore(inner, (error) => targetError(error, path))
}

const HINTS: ReadonlyMap<ErrorCode, readonly [ErrorCode, string]> = new Map([
  ['STORE_FULL', ['TARGET_FULL', 'Free space there (df -h), or give a --target on another disk, and restore again.']],
  [
    'STORE_DENIED',
    ['TARGET_DENIED', 'Give this user the right to write there, or another --target, and restore again.'],
  ],
  ['STORE_NOT_FOUND', ['TARGET_INVALID', 'Give a --target that is a directory, or a path where one can be made.']],
  ['STORE_UNAVAILABLE', ['TARGET_UNAVAILABLE', 'Look at the disk (dmesg | tail), or give another --target.']],
])

/** The error of a target for one that a file call on its directory, or its store, raised; any other as it is. */
export function targetError(error: unknown, path: string): unknown {
  const meant = fileError(error, path, 'write')
  const [code, hint] = (meant instanceof TidemarkError ? HINTS.get(meant.code) : undefined) ?? []
  if (!(meant instanceof TidemarkError) || code === undefined || hint === undefined) return meant
  return new TidemarkError(code, meant.message.replace(' Nothing was stored.', ''), {
    hint,
    cause: meant,
    details: { target: path },
  })
}
