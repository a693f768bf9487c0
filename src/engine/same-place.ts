import { sep } from 'node:path'
import { realPath } from '../store/real-path.ts'

const FILE = 'file://'

/**
 * Whether two identities of databases are of one: the same text, or files in one directory, by whatever link it is
 * reached. What would be taken for another database could be restored without being captured.
 */
export function isSameDatabase(a: string, b: string): boolean {
  if (a === b) return true
  if (!a.startsWith(FILE) || !b.startsWith(FILE)) return false
  return realPath(a.slice(FILE.length)) === realPath(b.slice(FILE.length))
}

/** Whether a path is a directory or something in it. */
export function isWithin(path: string, directory: string): boolean {
  const [inner, outer] = [realPath(path), realPath(directory)]
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : `${outer}${sep}`)
}
