import {
  close,
  constants,
  type Dirent,
  fstat,
  open as openCalled,
  read as readCalled,
  realpath,
  type Stats,
} from 'node:fs'
import { type FileHandle, link, lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import { EMPTY } from '../base/bytes.ts'
import type { EntryKind, Files } from './files.ts'
import type { ByteRange } from './object-store.ts'

const [openFile, statFile, closeFile] = [promisify(openCalled), promisify(fstat), promisify(close)]
const [readFile, resolveLinks] = [promisify(readCalled), promisify(realpath.native)]

/** What is no file, such as a pipe, is not waited for. */
const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

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

  realPath: resolveLinks,
  read,

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

/** What is read without a look at how much there is: where there is less, the memory was taken for nothing. */
const UNASKED_BYTES = 4 * 1024 * 1024

/** A store's reads are very many, and each call is a way to another thread and back: of these there are as few as can be. */
async function read(path: string, range: ByteRange | null): ReturnType<Files['read']> {
  const file = await openFile(path, READ_FILE)
  try {
    if (range === null || range.end - range.start > UNASKED_BYTES) return await readWithin(file, range)
    const { start, end } = range
    // Of what cannot be read, is shorter or empty, it is to be known what it is.
    const bytes = await readFrom(file, range).catch(() => EMPTY)
    return bytes.length < end - start || end === start ? await readWithin(file, range) : { bytes, size: end }
  } finally {
    closeFile(file).catch(() => {}) // nothing was written: nobody has to wait for it, or to know
  }
}

async function readWithin(file: number, range: ByteRange | null): ReturnType<Files['read']> {
  const stats = await statFile(file)
  if (!stats.isFile()) return null
  const { start, end } = range ?? { start: 0, end: stats.size }
  const bytes = await readFrom(file, { start, end: Math.max(start, Math.min(end, stats.size)) })
  return { bytes, size: stats.size }
}

/** What there is of a range. */
async function readFrom(file: number, { start, end }: ByteRange): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(end - start)
  let filled = 0
  while (filled < bytes.length) {
    const { bytesRead } = await readFile(file, bytes, filled, bytes.length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled === bytes.length ? bytes : bytes.subarray(0, filled)
}

function kindOf(entry: Stats | Dirent): EntryKind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  return entry.isSymbolicLink() ? 'link' : 'other'
}
