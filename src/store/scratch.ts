import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FilesystemStore } from './filesystem.ts'
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
