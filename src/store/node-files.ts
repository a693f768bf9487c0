import { constants, type Dirent, type Stats } from 'node:fs'
import { type FileHandle, link, lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import type { EntryKind, Files } from './files.ts'
import type { ByteRange } from './object-store.ts'

const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW

/** The files of this machine. */
export const nodeFiles: Files = {
  look: async (path) => {
    const stats = await lstat(path)
    return { kind: kindOf(stats), bytes: stats.size, modifiedMs: stats.mtimeMs }
  },

  list: async (directory) => {
    const entries = await readdir(directory, { withFileTypes: true })
    return entries.map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
  },

  read: (path, range) => opened(path, READ_FILE, (handle) => readFrom(handle, range)),

  create: (path, body) =>
    opened(path, 'wx', async (handle) => {
      if (body instanceof Uint8Array) await handle.writeFile(body)
      else for await (const chunk of body) await handle.writeFile(chunk)
      await handle.sync()
    }),

  place: (from, to, how) => (how === 'link' ? link(from, to) : rename(from, to)),
  remove: (path) => unlink(path),
  makeDirectory: (path) => mkdir(path, { mode: 0o700 }).then(() => undefined),
  syncDirectory: (path) => opened(path, 'r', (handle) => handle.sync()),
}

async function opened<T>(path: string, flags: string | number, act: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, flags, 0o600)
  try {
    return await act(handle)
  } finally {
    await handle.close()
  }
}

async function readFrom(
  handle: FileHandle,
  range: ByteRange | null,
): Promise<{ readonly bytes: Uint8Array; readonly size: number } | null> {
  const stats = await handle.stat()
  if (!stats.isFile()) return null
  const { start, end } = range ?? { start: 0, end: stats.size }
  const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(end, stats.size) - start))
  let filled = 0
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return { bytes: filled === bytes.length ? bytes : bytes.subarray(0, filled), size: stats.size }
}

function kindOf(entry: Stats | Dirent): EntryKind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  return entry.isSymbolicLink() ? 'link' : 'other'
}
