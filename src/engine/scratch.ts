import { isRunning, type ProcessMark, thisProcess } from '../capture/process-mark.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { createScratch, type Scratch, sweepScratch } from '../store/scratch.ts'

let isSwept = false

/** Local space for intermediate results. The first of a process sweeps what dead ones have left. */
export function openScratch(): Scratch {
  if (!isSwept) sweepScratch(isDead)
  isSwept = true
  return createScratch(JSON.stringify(thisProcess()))
}

/** Local space that is made where it is first asked for. */
export class ScratchSpace {
  #scratch: Scratch | null = null

  get store(): ObjectStore {
    this.#scratch ??= openScratch()
    return this.#scratch.store
  }

  /** Removes what is there. */
  close(): void {
    this.#scratch?.dispose()
    this.#scratch = null
  }
}

/** Only where the kernel can tell: a container may share the directory with others. */
function isDead(owner: string): boolean {
  try {
    const { pid, started, boot, namespace }: Partial<ProcessMark> = JSON.parse(owner)
    if (typeof pid !== 'number') return false
    return isRunning({ pid, started: started ?? null, boot: boot ?? null, namespace: namespace ?? null }) === false
  } catch {
    return false // it is being written
  }
}
