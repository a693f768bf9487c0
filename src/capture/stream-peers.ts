import { appendFileSync, closeSync, constants, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { firstUlidAt, isUlid, MIN_ULID, type Ulid, ulidTime } from '../model/ulid.ts'
import { journalError } from './node-disk.ts'
import type { Peers } from './peers.ts'

/*
 * Two files in the directory of a stream let processes of one machine tell each other their stamps (`Peers`), also from
 * containers that share the volume and nothing else:
 *
 *   clock   what the owner has told: no stamp so far is greater; twice, and `open` or `over`; written in place. Read without a lock:
 *           where the two differ, it was being written, and is read again.
 *   peers   one line for each process that made itself known: the id of its stream where that is beside this one, else the
 *           path of its directory. Only appended to while the owner lives; that it has grown costs one call to learn.
 *
 * A process makes its own directory first and then makes itself known in all the others: of two that start at the same
 * time, at least one finds the other, and what it does there makes it known to both. Neither file is needed for
 * recovery: they are never synced.
 */
const CLOCK = 'clock'
const PEERS = 'peers'
const CLOCK_BYTES = 26 + 1 + 26 + 1 + 4 + 1
/** A clock is written by one call, so that a reader meets it half written hardly ever, and never twice in a row for long. */
const MOST_READS = 1000
/** A process that is alone tells so much later a stamp than it has given, milliseconds: most writes then tell nothing. */
const AHEAD_MS = 20

/** What the clock file of a stream says. */
interface ClockReading {
  readonly ulid: Ulid
  readonly isOver: boolean
}

/** The processes that share a journal directory with this one, or whose directories can be reached from here. */
export class StreamPeers implements Pick<Peers, 'learn' | 'tell' | 'isShared'> {
  readonly #directory: string
  readonly #clock: number
  readonly #known: number
  #knownBytes = 0
  #told: Ulid
  #heard: Ulid = MIN_ULID
  /** Open clock files by the directory of their streams. */
  readonly #others = new Map<string, number>()
  /** Directories of streams from which nothing more comes: whoever opens one again makes himself known again. */
  readonly #over = new Set<string>()

  private constructor(directory: string, told: Ulid) {
    this.#directory = directory
    // What an earlier owner told stays to be read until this one has told more.
    this.#clock = openSync(join(directory, CLOCK), constants.O_RDWR | constants.O_CREAT, 0o600)
    const before = readClock(this.#clock)?.ulid ?? MIN_ULID
    this.#told = before > told ? before : told
    this.#known = openSync(join(directory, PEERS), 'w+', 0o600)
  }

  /**
   * Makes the stream in `directory` known to every other beside it, and to those in `elsewhere` (directories of streams that
   * the timeline knows; those that are not here are passed over). `told`: no stamp of the stream so far is
   * greater. Errors: `JOURNAL_*`.
   */
  static open(directory: string, told: Ulid, elsewhere: readonly string[] = []): StreamPeers {
    try {
      const peers = new StreamPeers(directory, told)
      writeClock(peers.#clock, { ulid: peers.#told, isOver: false })
      const beside = dirname(directory)
      const siblings = readdirSync(beside).filter(isUlid)
      for (const other of new Set([...siblings.map((id) => join(beside, id)), ...elsewhere])) {
        if (other !== directory) peers.#meet(other)
      }
      return peers
    } catch (error) {
      throw journalError(error, directory)
    }
  }

  learn(): Ulid {
    this.#lookForOthers()
    for (const [directory, clock] of this.#others) {
      const told = readClock(clock)
      if (told === null) continue
      if (told.ulid > this.#heard) this.#heard = told.ulid
      if (!told.isOver) continue
      closeSync(clock)
      this.#others.delete(directory)
      this.#over.add(directory)
    }
    return this.#heard
  }

  tell(ulid: Ulid): void {
    if (ulid <= this.#told) return
    this.#told = this.isShared() ? ulid : firstUlidAt(ulidTime(ulid) + AHEAD_MS)
    writeClock(this.#clock, { ulid: this.#told, isOver: false })
  }

  isShared(): boolean {
    return this.#others.size > 0
  }

  /** Whether the stream in a directory is one of those that are heard, or were until they were over. */
  hears(directory: string): boolean {
    return this.#others.has(directory) || this.#over.has(directory)
  }

  /** Ends the hearing. What was told stays to be read. */
  close(): void {
    for (const clock of this.#others.values()) closeSync(clock)
    this.#others.clear()
    closeSync(this.#clock)
    closeSync(this.#known)
  }

  /** Takes in who made itself known since the last look. */
  #lookForOthers(): void {
    const { size } = fstatSync(this.#known)
    if (size === this.#knownBytes) return
    const bytes = Buffer.alloc(size - this.#knownBytes)
    const read = readSync(this.#known, bytes, 0, bytes.length, this.#knownBytes)
    const end = bytes.subarray(0, read).lastIndexOf('\n') + 1
    this.#knownBytes += end
    for (const line of bytes.subarray(0, end).toString('utf8').split('\n')) {
      if (line !== '') this.#hear(isAbsolute(line) ? line : join(dirname(this.#directory), line))
    }
  }

  /** Makes this process known to another, and hears it from now on. */
  #meet(other: string): void {
    const isBeside = dirname(other) === dirname(this.#directory)
    const line = isBeside ? this.#directory.slice(dirname(other).length + 1) : this.#directory
    if (!this.#hear(other)) return
    appendFileSync(join(other, PEERS), `${line}\n`, { mode: 0o600 })
  }

  /** False where there is nobody: the directory is not here, or no process ever told anything in it. */
  #hear(other: string): boolean {
    if (this.#others.has(other)) return true
    try {
      this.#others.set(other, openSync(join(other, CLOCK), 'r'))
      this.#over.delete(other)
      return true
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }
}

/** Notes that nothing more comes from the stream in a directory: everything that its owners began is settled. */
export function endClock(directory: string): void {
  try {
    const clock = openSync(join(directory, CLOCK), 'r+')
    try {
      writeClock(clock, { ulid: readClock(clock)?.ulid ?? MIN_ULID, isOver: true })
    } finally {
      closeSync(clock)
    }
  } catch (error) {
    if (!isMissing(error)) throw journalError(error, directory)
  }
}

function writeClock(clock: number, { ulid, isOver }: ClockReading): void {
  writeSync(clock, `${ulid} ${ulid} ${isOver ? 'over' : 'open'}\n`, 0, 'latin1')
}

/** Null where nothing was told yet. */
function readClock(clock: number): ClockReading | null {
  const bytes = Buffer.alloc(CLOCK_BYTES)
  for (let reads = 0; reads < MOST_READS; reads++) {
    if (readSync(clock, bytes, 0, CLOCK_BYTES, 0) === 0) return null
    const [first = '', second = '', state = ''] = bytes.toString('latin1').trimEnd().split(' ')
    if (first === second && isUlid(first)) return { ulid: first, isOver: state === 'over' }
  }
  throw new Error('the clock of another stream cannot be read: its two stamps differ')
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
