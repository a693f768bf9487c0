/** An open file that durability rests on. */
export interface DiskFile {
  /**
   * Writes all bytes at `at` and makes them durable, a new size of the file included, before it resolves. Where it
   * rejects or the power goes, any part of the bytes may be there; it rejects where the file was removed, by whomever.
   * Calls for ranges that do not overlap may run together. `written` is called once all of them outlive this process,
   * though not the machine. Errors: `JOURNAL_FULL`, `JOURNAL_DENIED`, `JOURNAL_FAILED`.
   */
  commit(bytes: Uint8Array, at: number, written?: () => void): Promise<void>
  close(): Promise<void>
}

/** A file in a listing. */
export interface DiskEntry {
  readonly name: string
  readonly bytes: number
}

/**
 * The few file calls on which the durability of a journal rests. In tests a simulator that cuts the power stands here.
 * Errors of all calls: `JOURNAL_FULL`, `JOURNAL_DENIED`, `JOURNAL_FAILED`.
 */
export interface Disk {
  /** The files in a directory, in no order. */
  list(directory: string): Promise<readonly DiskEntry[]>
  /** The bytes in `[start, end)`, fewer where the file ends before. */
  read(path: string, start: number, end: number): Promise<Uint8Array>
  /** Opens for writing; makes the file (mode 0600) where it does not exist. */
  open(path: string): Promise<DiskFile>
  /** Removes a file; one that does not exist is no error. */
  remove(path: string): Promise<void>
  /** Makes the files that were made and removed in a directory so for good. */
  syncDirectory(directory: string): Promise<void>
}
