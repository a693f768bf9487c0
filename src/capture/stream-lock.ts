import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rm, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { journalError } from './node-disk.ts'

/*
 * Locks of a stream directory: files `lock.<number>`, each made whole by linking a finished file to its name, so that
 * exactly one of several makers succeeds. The owner is who wrote the lock with the highest number, as long as it
 * lives and has not released it. Numbers only go up and the highest lock is never removed: to take over, a process
 * links the number after the one it found dead, and then looks whether it is the highest. Nothing is ever removed on
 * the strength of something read before.
 */
const LOCK_NAME = /^lock\.(\d{8})$/

/** A process: enough to tell a dead one from a live one, and from a later one with the same pid. */
export interface ProcessMark {
  readonly pid: number
  /** Start of the process in clock ticks since boot, from /proc; null where there is none. */
  readonly started: string | null
  readonly host: string
  /** Id of the boot of the machine; null where it is not known. */
  readonly boot: string | null
}

/** Who holds a stream. */
export interface LockOwner extends ProcessMark {
  /** The owner has let go of the stream. */
  readonly released: boolean
}

/** A lock that this process holds. */
export interface StreamLock {
  /** Lets another process take it. */
  release(): Promise<void>
  /** The same lock after its directory was renamed. */
  movedTo(directory: string): StreamLock
}

/** The lock of a directory as it is now; null where there is none. A lock that cannot be read counts as dead: it was never made whole. */
export async function readLock(directory: string): Promise<{ number: number; owner: LockOwner | null } | null> {
  for (;;) {
    const number = highest(await lockNumbers(directory))
    if (number === 0) return null
    try {
      return { number, owner: parseOwner(await readFile(join(directory, lockName(number)), 'utf8')) }
    } catch (error) {
      // It was superseded between the listing and the reading.
      if (!isCode(error, 'ENOENT')) throw journalError(error, directory)
    }
  }
}

/** Takes the lock of a directory, which is made where it does not exist; null where a process has it that `holds` it. */
export async function takeLock(
  directory: string,
  holds: (owner: LockOwner) => boolean = isAlive,
): Promise<StreamLock | null> {
  const self: LockOwner = { ...thisProcess(), released: false }
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (;;) {
      const found = await readLock(directory)
      if (found?.owner != null && holds(found.owner)) return null
      const number = (found?.number ?? 0) + 1
      if (await makeLock(directory, number, self)) return heldLock(directory, number, self)
    }
  } catch (error) {
    throw journalError(error, directory)
  }
}

function heldLock(directory: string, number: number, self: LockOwner): StreamLock {
  return {
    release: () => release(directory, number, self),
    movedTo: (renamed) => heldLock(renamed, number, self),
  }
}

async function release(directory: string, number: number, self: LockOwner): Promise<void> {
  try {
    await makeLock(directory, number + 1, { ...self, released: true })
  } catch (error) {
    // Where the whole directory is gone, so is the lock.
    if (!isCode(error, 'ENOENT')) throw journalError(error, directory)
  }
}

/** Makes lock `number`, and removes those below it; false where another process was faster. */
async function makeLock(directory: string, number: number, owner: LockOwner): Promise<boolean> {
  const draft = join(directory, `draft.${process.pid}.${randomBytes(6).toString('hex')}`)
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(JSON.stringify(owner))
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(draft, join(directory, lockName(number)))
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await unlink(draft)
  }
  const numbers = await lockNumbers(directory)
  if (highest(numbers) > number) {
    // The lock that was found dead was taken over, and superseded, before this one was made.
    await rm(join(directory, lockName(number)), { force: true })
    return false
  }
  for (const lower of numbers) if (lower < number) await rm(join(directory, lockName(lower)), { force: true })
  return true
}

function lockName(number: number): string {
  return `lock.${String(number).padStart(8, '0')}`
}

async function lockNumbers(directory: string): Promise<number[]> {
  const numbers: number[] = []
  for (const name of await readdir(directory)) {
    const digits = LOCK_NAME.exec(name)?.[1]
    if (digits !== undefined) numbers.push(Number(digits))
  }
  return numbers
}

function highest(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => Math.max(most, number), 0)
}

function parseOwner(json: string): LockOwner | null {
  try {
    const value: Partial<LockOwner> = JSON.parse(json)
    if (typeof value.pid !== 'number' || typeof value.host !== 'string') return null
    const { pid, host, started = null, boot = null, released = false } = value
    return { pid, host, started, boot, released }
  } catch (error) {
    // A lock is written and synced before it gets its name: one that is not JSON was torn by a power cut.
    if (error instanceof SyntaxError) return null
    throw error
  }
}

/** This process. */
export function thisProcess(): ProcessMark {
  return {
    pid: process.pid,
    started: processState(process.pid)?.started ?? null,
    host: hostname(),
    boot: bootId(),
  }
}

/**
 * Whether the owner of a lock may still write. In doubt it may: a stream is left alone rather than written twice. Of
 * another host nothing can be known.
 */
export function isAlive(owner: LockOwner): boolean {
  return !owner.released && mayRun(owner)
}

/** Whether a process runs, as far as can be told from here; in doubt it does. */
export function mayRun({ pid, started, host, boot: itsBoot }: ProcessMark): boolean {
  if (host !== hostname()) return true
  const boot = bootId()
  if (itsBoot !== null && boot !== null && itsBoot !== boot) return false
  const state = processState(pid)
  if (state !== null) return !state.isDead && (started === null || started === state.started)
  try {
    process.kill(pid, 0)
    // With /proc, a process that is not listed there has just ended; without, it answers.
    return boot === null
  } catch (error) {
    // EPERM: it exists and is another user's.
    return isCode(error, 'EPERM')
  }
}

/** State of a process from /proc; null where there is no such process, or no /proc. */
function processState(pid: number): { started: string; isDead: boolean } | null {
  const stat = readIfThere(`/proc/${pid}/stat`)
  // The second field is the name in brackets and may hold anything; state is the third field, the start the 22nd.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  const started = fields?.[19]
  if (started === undefined) return null
  return { started, isDead: fields?.[0] === 'Z' || fields?.[0] === 'X' }
}

function bootId(): string | null {
  return readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? null
}

/** A file of /proc, which is never waited for. */
function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // No such process (ESRCH while it ends), or no /proc.
    if (isCode(error, 'ENOENT', 'ESRCH')) return null
    throw error
  }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
