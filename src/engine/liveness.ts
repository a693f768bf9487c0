import { basename, dirname } from 'node:path'
import { isRunning, isThisProcess, type ProcessMark } from '../capture/process-mark.ts'
import type { StreamAddress } from '../capture/stream-control.ts'
import { type Liveness, livenessOf, readLock } from '../capture/stream-lock.ts'
import { type DoorPlace, isLocal, knock } from '../capture/stream-socket.ts'
import type { StreamEntry } from '../model/timeline.ts'

/**
 * Where the owner of an open stream can be asked; null where it has no door, or none that can be seen from here. Reads
 * the lock of a journal on a disk.
 */
export async function addressOf(stream: StreamEntry): Promise<StreamAddress | null> {
  const door = await doorOf(stream)
  return door === null ? null : { stream: stream.id, door }
}

async function doorOf({ journal, door }: StreamEntry): Promise<DoorPlace | null> {
  if (journal.kind !== 'disk') {
    return door === undefined ? null : { directory: dirname(door), name: basename(door) }
  }
  const owner = (await lockOf(journal.path))?.owner
  return owner?.door == null || owner.released ? null : { directory: journal.path, name: owner.door }
}

/**
 * Whether the process that owns an open stream may still write it: by the lock of its directory where it has one that is
 * here, else by its door and what the timeline says of the process.
 */
export async function livenessOfStream(stream: StreamEntry): Promise<Liveness> {
  const { journal, door } = stream
  if (journal.kind === 'disk') {
    const lock = await lockOf(journal.path)
    if (lock !== null) return livenessOf(lock.owner, journal.path)
  } else if (door !== undefined) {
    const directory = dirname(door)
    const answer = await knock({ directory, name: basename(door) })
    if (answer === 'answers') return 'alive'
    if (answer === 'denied') return 'unknown'
    if (answer === 'refused' && (await isLocal(directory))) return 'dead'
    // The thread that wrote it has ended: whoever else looks may have other files under the same names.
    if (answer === 'gone' && isThisProcess(markOf(stream))) return 'dead'
  }
  const running = isRunning(markOf(stream))
  if (running === null) return 'unknown'
  return running ? 'alive' : 'dead'
}

function markOf({ pid, started, boot, namespace }: StreamEntry): ProcessMark {
  return { pid, started: started ?? null, boot: boot ?? null, namespace: namespace ?? null }
}

/** Null where there is no such directory here, or it may not be read. */
async function lockOf(path: string): Promise<Awaited<ReturnType<typeof readLock>>> {
  try {
    return await readLock(path)
  } catch {
    return null // what the timeline says of the process is all that is left
  }
}
