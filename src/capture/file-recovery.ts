import { join } from 'node:path'
import { concat } from '../base/bytes.ts'
import {
  decodeFileEnd,
  decodeFileHeader,
  FILE_HEADER_BYTES,
  type JournalFileHeader,
  parseJournalFileName,
} from '../format/journal-file.ts'
import {
  corruptFrame,
  findFrame,
  frameKeepFrom,
  frameLengthAt,
  frameNumber,
  isWholeFrame,
} from '../format/journal-frame.ts'
import type { Disk } from './disk.ts'

/** A journal file that holds frames. */
export interface JournalFile {
  readonly path: string
  readonly file: number
  readonly firstFrame: number
  /** Known where the file behind it is missing; null: all up to the first frame of the next file. */
  readonly lastFrame: number | null
  /** That it takes of the disk. */
  readonly bytes: number
}

/** What a journal directory holds, with what a crash has left undone already set right. */
export interface RecoveredFiles {
  /** By number, from the oldest that is needed on. */
  readonly files: readonly JournalFile[]
  /** Offset behind the last frame of the last file; null where nothing is to be appended to it. */
  readonly end: number | null
  readonly bytes: number
  /** 0 where there is none. */
  readonly lastFrame: number
  readonly keepFrom: number
  /** A file made ahead, all zero, with a number after the last file's. */
  readonly spare: { readonly file: number; readonly bytes: number } | null
  /** The number that the next file gets: no number is given twice, not even that of a file that is missing. */
  readonly nextFile: number
  /** For people, which files were taken away although they are needed; null: none. The same at every opening. */
  readonly missing: string | null
}

interface Found {
  readonly path: string
  readonly file: number
  readonly bytes: number
  readonly header: JournalFileHeader | null
}

interface Tail {
  readonly end: number
  readonly lastFrame: number
  readonly keepFrom: number
  /** The file in which the frames go on, as it says itself; null where it does not say that they do. */
  readonly next: number | null
}

/**
 * Reads the end of a journal, and cuts what a crash has torn. Only the last commit can be torn: bytes that are no
 * frame are cut where no whole frame stands behind them, and are damage where one does.
 * Errors: `JOURNAL_CORRUPT`.
 */
export async function recoverFiles(
  disk: Disk,
  directory: string,
  stream: string,
  seed: number,
): Promise<RecoveredFiles> {
  const found = await findFiles(disk, directory, stream)
  const headed = found.filter((file) => file.header !== null).length
  const blanks = found.slice(headed)
  const zero = await checkBlanks(disk, blanks, seed)
  const files: Found[] = found.slice(0, headed)
  const torn: Found[] = blanks.filter((blank) => !zero.includes(blank))

  let tail: Tail | null = null
  let tailBytes = 0
  let followedBy: number | null = null
  while (tail === null) {
    const last = files.at(-1)
    if (last?.header == null) break
    const read = await readTail(disk, last, last.header, seed)
    const { next } = read
    // The end is written when the first frame of the next file is durable: that one cannot have been torn.
    if (next !== null && found.some(({ file }) => file === next)) {
      throw corruptFrame(`frame ${read.lastFrame + 1} is damaged`, last.path)
    }
    // What was torn may have been tried in this file before, in vain as far as its writer knows.
    if (followedBy !== null && read.lastFrame !== followedBy - 1 && read.lastFrame !== followedBy) {
      throw corruptFrame(`frame ${followedBy - 1} is missing or damaged`, last.path)
    }
    if (read.lastFrame >= last.header.firstFrame) {
      tail = read
      tailBytes = last.bytes
    } else {
      // Header and first frame are one commit; this one was torn.
      followedBy = last.header.firstFrame
      torn.push(last)
      files.pop()
    }
  }
  if (tail === null && followedBy !== null && followedBy > 1) {
    throw corruptFrame(`frame ${followedBy - 1} is missing`, torn.at(-1)?.path)
  }
  const needed = await neededFiles(disk, files, tail?.keepFrom ?? 0, seed)
  for (const file of [...torn, ...found.filter((file) => file.header !== null && !torn.includes(file))]) {
    if (!needed.some((kept) => kept.path === file.path)) await disk.remove(file.path)
  }
  const spare = followedBy === null ? zero[0] : undefined
  for (const blank of zero) if (blank !== spare) await disk.remove(blank.path)
  // The removals need no sync: a file that comes back is recognized again. But what stays may have been made by a process
  // that was killed before its name was durable.
  if (needed.length > 0 || spare !== undefined) await disk.syncDirectory(directory)
  const lastFile = Math.max(needed.at(-1)?.file ?? 0, tail?.next ?? 0)
  return {
    files: needed,
    // The end that says where the frames go on stays: until the loss is known elsewhere, it is all that tells of it.
    end: tail === null || tail.next !== null ? null : tail.end,
    bytes: tailBytes,
    lastFrame: tail?.lastFrame ?? 0,
    keepFrom: tail?.keepFrom ?? 0,
    spare: spare === undefined ? null : { file: spare.file, bytes: spare.bytes },
    nextFile: lastFile + 1,
    missing: missingFiles(needed, tail?.keepFrom ?? 0, spare?.file ?? lastFile + 1),
  }
}

/**
 * Files are numbered without holes, the next one is made ahead while the last one is written, and the oldest are let
 * go of first: a number that is not there, above that of a file that is needed, was taken away.
 */
function missingFiles(needed: readonly JournalFile[], keepFrom: number, next: number): string | null {
  const [first] = needed
  const missing: string[] = []
  if (first !== undefined && first.firstFrame > Math.max(1, keepFrom)) missing.push(`before ${first.file}`)
  let expected = first?.file ?? 1
  for (const file of [...needed.map((one) => one.file), next]) {
    if (file > expected) missing.push(file === expected + 1 ? `${expected}` : `${expected} to ${file - 1}`)
    expected = file + 1
  }
  return missing.length === 0 ? null : `journal files are missing: ${missing.join(', ')}`
}

async function findFiles(disk: Disk, directory: string, stream: string): Promise<Found[]> {
  const found: Found[] = []
  for (const { name, bytes } of await disk.list(directory)) {
    const file = parseJournalFileName(name)
    if (file === null) continue
    const path = join(directory, name)
    const header = decodeFileHeader(await disk.read(path, 0, FILE_HEADER_BYTES))
    if (header !== null && header.stream !== stream) throw corruptFrame(`the file is of stream ${header.stream}`, path)
    if (header !== null && header.file !== file) throw corruptFrame(`the file was file ${header.file}`, path)
    found.push({ path, file, bytes, header })
  }
  found.sort((a, b) => a.file - b.file)
  const firstBlank = found.findIndex(({ header }) => header === null)
  const behind = firstBlank < 0 ? undefined : found.slice(firstBlank).find(({ header }) => header !== null)
  if (behind !== undefined) throw corruptFrame('the header of the file is damaged', found[firstBlank]?.path)
  return found
}

/** Which of the files without a header are all zero. A whole frame in any of them means that a header was damaged. */
async function checkBlanks(disk: Disk, blanks: readonly Found[], seed: number): Promise<Found[]> {
  const zero: Found[] = []
  for (const blank of blanks) {
    const bytes = await disk.read(blank.path, 0, blank.bytes)
    if (findFrame(bytes, 0, seed) !== null) throw corruptFrame('the header of the file is damaged', blank.path)
    if (lastNonZero(bytes) < 0) zero.push(blank)
  }
  return zero
}

/**
 * Reads the last file to its end, zeroes a torn end, and makes the last frame durable: who wrote it may have been
 * killed before it was. It is built upon from now on, and a power cut must not take it from under what comes after.
 */
async function readTail(disk: Disk, file: Found, header: JournalFileHeader, seed: number): Promise<Tail> {
  const { lastStart, ...tail } = await walk(disk, file, header, seed)
  const { bytes, end, lastFrame, keepFrom, next } = tail
  // Nothing was acknowledged behind the last frame. It is zeroed before anything is appended, so that it never joins new bytes.
  const rest = next === null ? Math.max(0, lastNonZero(bytes) + 1 - end) : 0
  if (lastFrame >= header.firstFrame) {
    const open = await disk.open(file.path)
    try {
      await open.commit(concat([bytes.subarray(lastStart, end), Buffer.alloc(rest)]), lastStart)
    } finally {
      await open.close()
    }
  }
  return { end, lastFrame, keepFrom, next }
}

interface Walked extends Tail {
  readonly bytes: Uint8Array
  /** Where the last commit begins. */
  readonly lastStart: number
}

/** Walks the frames of a file. Errors: `JOURNAL_CORRUPT` where a whole frame stands behind something that is none. */
async function walk(disk: Disk, file: Found, header: JournalFileHeader, seed: number): Promise<Walked> {
  const bytes = await disk.read(file.path, 0, file.bytes)
  let end = FILE_HEADER_BYTES
  let lastFrame = header.firstFrame - 1
  let lastStart = 0
  let keepFrom = 0
  for (;;) {
    const length = frameLengthAt(bytes, end)
    if (length === null || end + length > bytes.length) break
    const frame = bytes.subarray(end, end + length)
    if (!isWholeFrame(frame, seed) || frameNumber(frame) !== lastFrame + 1) break
    // The header is written with the first frame.
    lastStart = lastFrame < header.firstFrame ? 0 : end
    lastFrame++
    keepFrom = frameKeepFrom(frame)
    end += length
  }
  const behind = findFrame(bytes, end, seed)
  if (behind !== null) {
    throw corruptFrame(`at byte ${end} something else stands where frame ${lastFrame + 1} should be`, file.path)
  }
  return { bytes, end, lastStart, lastFrame, keepFrom, next: decodeFileEnd(bytes, end, header.stream) }
}

/** The files from the one on that holds frame `keepFrom`. */
async function neededFiles(
  disk: Disk,
  files: readonly Found[],
  keepFrom: number,
  seed: number,
): Promise<readonly JournalFile[]> {
  const needed: JournalFile[] = []
  for (const found of files.toReversed()) {
    const { header, path, file, bytes } = found
    if (header === null) continue
    const { firstFrame } = header
    const next = needed[0]
    if (next !== undefined && (next.firstFrame <= keepFrom || next.firstFrame === 1)) break
    if (next === undefined || next.file === file + 1) {
      needed.unshift({ path, file, firstFrame, lastFrame: null, bytes })
      continue
    }
    const { lastFrame } = await walk(disk, found, header, seed)
    // One that was let go of, and whose removal a power cut has undone.
    if (lastFrame < keepFrom) break
    needed.unshift({ path, file, firstFrame, lastFrame, bytes })
  }
  return needed
}

function lastNonZero(bytes: Uint8Array): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let end = view.length
  // By blocks: a file made ahead is megabytes of zeros.
  while (end >= ZEROS.length && view.compare(ZEROS, 0, ZEROS.length, end - ZEROS.length, end) === 0) end -= ZEROS.length
  while (end > 0 && view[end - 1] === 0) end--
  return end - 1
}

const ZEROS = Buffer.alloc(4096)
