import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TidemarkError } from '../base/errors.ts'
import type { Ulid } from '../model/ulid.ts'
import { directoryTarget } from '../restore/directory-target.ts'
import type { Target } from '../restore/target.ts'
import { FilesystemStore } from '../store/filesystem.ts'
import { removeDirectory, replaceDirectory } from '../store/scratch.ts'

/** What a directory is to hold. */
export interface DirectoryRequest {
  readonly moment: Ulid
  readonly database: string
}

/** A directory in the snapshot layout as a target: `file:./dir` or a path. Errors: `TARGET_INVALID`. */
export function openDirectoryTarget(spec: string, { moment, database }: DirectoryRequest): Target {
  const path = directoryPath(spec)
  const next = join(dirname(path), `.${basename(path)}.restore-${moment}-${process.pid}`)
  const stores = {
    current: new FilesystemStore(path),
    next: new FilesystemStore(next),
    swap: () => replaceDirectory(next, path),
    discard: () => removeDirectory(next),
  }
  return directoryTarget(path, stores, moment, database)
}

function directoryPath(spec: string): string {
  if (spec === '' || (/^[a-z][a-z0-9+.-]*:/i.test(spec) && !spec.startsWith('file:'))) {
    throw new TidemarkError('TARGET_INVALID', `"${spec}" is no target that is known here. Nothing was written.`, {
      hint: 'Give a directory (file:./recovered or a path); a database is a target of the s3db adapter.',
    })
  }
  return resolve(spec.startsWith('file://') ? fileURLToPath(spec) : spec.replace(/^file:/, ''))
}
