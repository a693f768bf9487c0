import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rm, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { journalError } from './node-disk.ts'
import { isRunning, isSameBoot, type ProcessMark, thisProcess } from './process-mark.ts'
import { type Door, makeDoor } from './stream-door.ts'
import { isLocal, knock } from './stream-socket.ts'

/*
 * Locks of a stream directory: files `lock.<number>`, each made whole by linking a finished file to its name, so that
 * exactly one of several makers succeeds. The owner is who wrote the lock with the highest number, as long as it
 * lives and has not released it. Numbers only go up and the highest lock is never removed: to take over, a process
 * links the number after the one it found dead, and then looks whether it is the highest. Nothing is ever removed on
 * the strength of something read before.
 */
const LOCK_NAME = /^lock\.(\d{8})$/

/** Who holds a stream. */
export interface LockOwner extends ProcessMark {
  /** Name of its door, in the same directory; null where it could make none. */
  readonly door: string | null
  /** The owner has let go of the stream. */
  readonly released: boolean
}

/** Whether an owner may still write; `unknown`: nobody here can tell, and its stream is left alone. */
export type Liveness = 'alive' | 'dead' | 'unknown'

/** A lock that this process holds. */
export interface StreamLock {
  /** Null where none could be made: then nobody can ask this process. */
  readonly door: Door | null
  /** Lets another process take it, and takes the door away. */
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

/** Takes the lock of a directory, which is made where it does not exist; null where `mayTake` refuses its owner. */
export async function takeLock(
  directory: string,
  mayTake: (liveness: Liveness) => boolean = (liveness) => liveness === 'dead',
): Promise<StreamLock | null> {
  let door: Door | null = null
  let lock: StreamLock | null = null
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    while (lock === null) {
      const found = await readLock(directory)
      if (found !== null && !mayTake(await livenessOf(found.owner, directory))) break
      door ??= await makeDoor(directory)
      const number = (found?.number ?? 0) + 1
      const self = { ...thisProcess(), door: door?.name ?? null, released: false }
      if (!(await makeLock(directory, number, self))) continue
      lock = heldLock(directory, number, self, door)
      // Only this one: others may be the doors of processes that try to take the lock at this moment.
      if (found?.owner?.door != null) await rm(join(directory, found.owner.door), { force: true })
    }
    return lock
  } catch (error) {
    throw journalError(error, directory)
  } finally {
    if (lock === null) await door?.close()
  }
}

/**
 * Whether the owner of a lock may still write. In doubt nobody can tell: a stream is left alone rather than written twice. A
 * host name and a number of a process prove nothing, since containers share both; the kernel is asked.
 *
 * 1. Somebody listens at the owner's door: it is alive.
 * 2. Nobody does, in a directory that no other machine can have: it is dead. The door is made before the lock that names it
 *    and goes after it, so whoever holds a lock listens, or was never able to.
 * 3. There is no door, in such a directory, and the machine was started again since: it is dead.
 * 4. Else the number of the process tells, where it was given under this boot and in this namespace of numbers.
 *
 * A machine that was copied while it ran has the same boot and its own copy of everything, doors included: there both are
 * alive, and `StreamEntry.owner` lets only one go on.
 */
export async function livenessOf(owner: LockOwner | null, directory: string): Promise<Liveness> {
  if (owner === null || owner.released) return 'dead'
  const { door } = owner
  const answer = door === null ? null : await knock({ directory, name: door })
  if (answer === 'answers') return 'alive'
  if (answer === 'denied') return 'unknown'
  const isElsewhen = owner.boot !== null && !isSameBoot(owner)
  if ((answer !== null || isElsewhen) && (await isLocal(directory))) return 'dead'
  const running = isRunning(owner)
  if (running === null) return 'unknown'
  if (!running) return 'dead'
  return door === null ? 'alive' : 'unknown'
}

function heldLock(directory: string, number: number, self: LockOwner, door: Door | null): StreamLock {
  return {
    door,
    release: async () => {
      try {
        await release(directory, number, self)
      } finally {
        await door?.close(directory)
      }
    },
    movedTo: (renamed) => heldLock(renamed, number, self, door),
  }
}

async function release(directory: string, number: number, self: LockOwner): Promise<void> {
  try {
    await makeLock(directory, number + 1, { ...self, door: null, released: true })
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
    throw isCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK') ? noLinks(directory, error) : error
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

function noLinks(directory: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    'JOURNAL_DENIED',
    `The file system of ${directory} makes no hard links, by which processes agree on who writes a stream. Nothing was captured.`,
    {
      hint: "Give the journal a directory on a local file system such as ext4 or xfs, or capture with ack: 'store'.",
      details: { path: directory },
      cause,
    },
  )
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
    if (typeof value.pid !== 'number') return null
    const { pid, started = null, boot = null, namespace = null, door = null, released = false } = value
    // A path would lead out of the directory.
    return { pid, started, boot, namespace, door: door === null ? null : basename(door), released }
  } catch (error) {
    // A lock is written and synced before it gets its name: one that is not JSON was torn by a power cut.
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
