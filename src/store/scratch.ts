import { mkdtempSync, rmSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { FilesystemStore } from './filesystem.ts'
import { fileError } from './filesystem-errors.ts'
import { lookAt, TEMP_DIR } from './filesystem-tree.ts'
import { nodeFiles } from './node-files.ts'
import type { ObjectStore } from './object-store.ts'

/** Local space for intermediate results; it is gone when the process exits, or when `dispose` is called. */
export interface Scratch {
  readonly store: ObjectStore
  /** Of the directory. */
  readonly path: string
  dispose(): void
}

/** Makes a private directory under the system's directory for temporary files. */
export function createScratch(): Scratch {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const dispose = (): void => {
    process.removeListener('exit', dispose)
    rmSync(path, { recursive: true, force: true })
  }
  process.once('exit', dispose)
  return { store: new FilesystemStore(path), path, dispose }
}

/**
 * Puts the directory `next` in the place of `current` by renaming; both must have the same parent. What stood there
 * is removed only after the new one has taken its place durably.
 */
export async function replaceDirectory(next: string, current: string): Promise<void> {
  const parent = dirname(current)
  const old = `${next}.old`
  try {
    await rm(join(next, TEMP_DIR), { recursive: true, force: true })
    const exists = (await lookAt(nodeFiles, current)) !== null
    if (exists) await rename(current, old)
    await rename(next, current)
    await nodeFiles.syncDirectory(parent)
    if (exists) await rm(old, { recursive: true })
  } catch (error) {
    throw fileError(error, current, 'replace')
  }
}

/** Removes a directory with everything in it; none is no error. */
export async function removeDirectory(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true })
  } catch (error) {
    throw fileError(error, path, 'remove')
  }
}
