import { type Clock, systemClock } from '../base/clock.ts'
import { type StoreSpec, type StoreTree, treeOf } from '../store/open.ts'
import { isLocal } from './stream-socket.ts'

/**
 * The clock of a store that only processes of this machine can reach, all of which read time from it. Which time it is, it
 * says to everybody alike; so what is opened there later is opened at a later time.
 */
export interface OneClock {
  /** Whether the millisecond is over by that clock; waits where it is about to be. False where others may have another clock. */
  passed(ms: number): Promise<boolean>
}

/** What is asked for is often the present: that is waited for, milliseconds. */
const SOON_MS = 50

/** The clock of everybody who can reach a store; null for one that other machines can reach. */
export function oneClockOf(spec: string | StoreSpec, clock: Clock = systemClock): OneClock | null {
  const tree = treeOf(spec)
  return tree === null ? null : { passed: async (ms) => (await isOnlyHere(tree)) && hasPassed(ms, clock) }
}

async function isOnlyHere({ path }: StoreTree): Promise<boolean> {
  return path === null || (await isLocal(path))
}

async function hasPassed(ms: number, clock: Clock): Promise<boolean> {
  for (;;) {
    const now = clock.now()
    if (Math.floor(now) > ms) return true
    if (ms - now > SOON_MS) return false
    await clock.sleep(1)
  }
}
