import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TidemarkError } from '../base/errors.ts'
import { unfinishedPrefix } from '../format/keys.ts'
import type { Ulid } from '../model/ulid.ts'
import { directoryTarget } from '../restore/directory-target.ts'
import type { Target } from '../restore/target.ts'
import { FilledDirectory } from '../store/filled-directory.ts'
import { isWithin } from './same-place.ts'

/** What a directory is to hold. */
export interface DirectoryRequest {
  readonly moment: Ulid
  readonly database: string
}

/**
 * Refuses a place within the store itself: what is written there is no part of the history, and may go with it. `store` is
 * the name of the store, `target` what was given. Errors: `TARGET_INVALID`.
 */
export function refuseWithinStore(target: string | Target, store: string): void {
  const path = typeof target === 'string' ? directoryPath(target) : /^file:\/\/(.*)$/s.exec(target.name)?.[1]
  if (path === undefined || !store.startsWith('file:') || !isWithin(path, store.slice('file:'.length))) return
  throw new TidemarkError('TARGET_INVALID', `${path} lies within the store of the history. Nothing was written.`, {
    hint: 'Give a place outside of it.',
    details: { store },
  })
}

/** A directory in the snapshot layout as a target: `file:./dir` or a path. Errors: `TARGET_INVALID`. */
export function openDirectoryTarget(spec: string, { moment, database }: DirectoryRequest): Target {
  const path = directoryPath(spec)
  const prefix = unfinishedPrefix(randomBytes(4).toString('hex'))
  return directoryTarget(path, new FilledDirectory(path), { moment, database, prefix })
}

function directoryPath(spec: string): string {
  if (spec === '' || (/^[a-z][a-z0-9+.-]*:/i.test(spec) && !spec.startsWith('file:'))) {
    throw new TidemarkError('TARGET_INVALID', `"${spec}" is no target that is known here. Nothing was written.`, {
      hint: 'Give a directory (file:./recovered or a path); a database is a target of the s3db adapter.',
    })
  }
  return resolve(spec.startsWith('file://') ? fileURLToPath(spec) : spec.replace(/^file:/, ''))
}
