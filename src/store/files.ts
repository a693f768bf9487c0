import type { Body, ByteRange } from './object-store.ts'

/** What stands at a path. */
export type EntryKind = 'file' | 'directory' | 'link' | 'other'

/** A name in a directory. */
export interface FileEntry {
  readonly name: string
  readonly kind: EntryKind
}

/** What is known of a path without opening it. */
export interface FileInfo {
  readonly kind: EntryKind
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number
}

/**
 * The calls with which a tree of files is read. Errors of all calls are those of the system: an `Error` whose `code` is
 * the errno name (`ENOENT`).
 */
export interface FileReader {
  /** What is at the path itself; a link is not followed. */
  look(path: string): Promise<FileInfo>
  /** Where a path leads to, with every link resolved. */
  realPath(path: string): Promise<string>
  /** The names in a directory, in no order. */
  list(directory: string): Promise<readonly FileEntry[]>
  /**
   * The whole file, or what there is of the range, and how large the file is, or at least is where the range ends in it; null
   * where it is no regular file. A path that is a link fails with `ELOOP`.
   */
  read(path: string, range: ByteRange | null): Promise<{ readonly bytes: Uint8Array; readonly size: number } | null>
}

/**
 * The few file calls on which the durability of a filesystem store rests. In tests a simulator that cuts the power
 * stands here. Names that were made, replaced or removed may come and go with the power until `syncDirectory`.
 */
export interface Files extends FileReader {
  /**
   * Makes a new file (mode 0600; `EEXIST` where there is one) and makes its content durable before it resolves. Where it
   * rejects, any part of it may be there.
   */
  create(path: string, body: Body): Promise<void>
  /** Gives a file the name `to` in one step: `rename` replaces what is there, `link` fails with `EEXIST`. */
  place(from: string, to: string, how: 'rename' | 'link'): Promise<void>
  remove(path: string): Promise<void>
  /** Makes one directory, mode 0700. */
  makeDirectory(path: string): Promise<void>
  /** Makes the names of a directory durable: those that were made, replaced and removed in it before. */
  syncDirectory(path: string): Promise<void>
}
