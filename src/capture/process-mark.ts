import { readFileSync, readlinkSync } from 'node:fs'

/** A process: enough for its own kernel to tell it from a dead one, and from a later one with the same number. */
export interface ProcessMark {
  readonly pid: number
  /** Start of the process in clock ticks since boot, from /proc; null where it is not known. */
  readonly started: string | null
  /** Id of the boot of the machine; null where it is not known. */
  readonly boot: string | null
  /** Of its process numbers, as /proc names it: containers have one each; null where it is not known. */
  readonly namespace: string | null
}

/** This process. */
export function thisProcess(): ProcessMark {
  const { pid } = process
  const started = isOwnProc() ? (processState(pid)?.started ?? null) : null
  return { pid, started, boot: bootId(), namespace: namespaceOf() }
}

/** Whether the mark is that of this very process. */
export function isThisProcess(mark: ProcessMark): boolean {
  const own = thisProcess()
  return isSameKernel(mark, own) && mark.pid === own.pid && mark.started === own.started
}

/**
 * Whether a process runs, by the kernel that gave it its number; null where that one cannot be asked: another boot, another
 * namespace of numbers (a container), or a system that tells neither.
 */
export function isRunning(mark: ProcessMark): boolean | null {
  if (!isSameKernel(mark, { boot: bootId(), namespace: namespaceOf() })) return null
  const state = isOwnProc() ? processState(mark.pid) : null
  if (state !== null) return !state.isDead && (mark.started === null || mark.started === state.started)
  try {
    process.kill(mark.pid, 0)
    // A process that /proc does not list any more has just ended.
    return !isOwnProc()
  } catch (error) {
    // EPERM: it exists and is another user's.
    return isCode(error, 'EPERM')
  }
}

/** Whether two marks were made under one boot of one kernel; what is not known differs from everything. */
export function isSameBoot(
  one: Pick<ProcessMark, 'boot'>,
  other: Pick<ProcessMark, 'boot'> = { boot: bootId() },
): boolean {
  return one.boot !== null && one.boot === other.boot
}

function isSameKernel(
  one: Pick<ProcessMark, 'boot' | 'namespace'>,
  other: Pick<ProcessMark, 'boot' | 'namespace'>,
): boolean {
  return isSameBoot(one, other) && one.namespace !== null && one.namespace === other.namespace
}

/** Whether /proc has the numbers of this process's own namespace: a container may see that of its host. */
function isOwnProc(): boolean {
  return linkIfThere('/proc/self') === String(process.pid)
}

function namespaceOf(): string | null {
  return linkIfThere('/proc/self/ns/pid')
}

function bootId(): string | null {
  return readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? null
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

/** A file of /proc, which is never waited for. */
function readIfThere(path: string): string | null {
  return ifThere(() => readFileSync(path, 'utf8'))
}

function linkIfThere(path: string): string | null {
  return ifThere(() => readlinkSync(path))
}

function ifThere(read: () => string): string | null {
  try {
    return read()
  } catch (error) {
    // No such process (ESRCH while it ends), no /proc, or one that is closed to this process.
    if (isCode(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL')) return null
    throw error
  }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
