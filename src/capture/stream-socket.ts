import { lstat, mkdir } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'

/** Where the local socket of a stream is. Short, since such a path may have about a hundred bytes only. */
export function socketPath(stream: string): string {
  return join(socketDirectory(), `${stream}.sock`)
}

function socketDirectory(): string {
  return join(tmpdir(), `tidemark-${userInfo().uid}`)
}

/**
 * Makes the directory of the sockets where it is missing, for this user alone: a socket itself has the mode of the
 * umask until it is changed. Errors: `JOURNAL_DENIED` where another user made it, who could then answer for a stream.
 */
export async function makeSocketDirectory(): Promise<void> {
  await mkdir(socketDirectory(), { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await checkSocketDirectory()
}

/** Errors: `JOURNAL_DENIED` where the directory of the sockets is there, and not this user's alone. */
export async function checkSocketDirectory(): Promise<void> {
  const path = socketDirectory()
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (found === null) return
  if (found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0) return
  throw new TidemarkError('JOURNAL_DENIED', `${path} is not a directory that only this user can enter.`, {
    hint: 'Remove it, or set TMPDIR to a directory of this user: processes ask each other for their last events there.',
    details: { path },
  })
}
