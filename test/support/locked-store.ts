import type { Keeping } from '../../src/store/keeping.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { deletionRefused, type Undeleted } from '../../src/store/refusals.ts'

/** A store in memory that does not let locked objects go, and says so of each. */
export class LockedStore extends MemoryStore {
  /** Until when, by key: RFC 3339, or null where it does not tell. */
  readonly locks: Map<string, string | null> = new Map()
  /** What it says of older versions. */
  keeps: Keeping = { versions: 'none' }
  /** Every key that it was asked to delete. */
  readonly asked: string[] = []

  override async delete(keys: readonly string[]): Promise<void> {
    this.asked.push(...keys)
    await super.delete(keys.filter((key) => !this.locks.has(key)))
    const refused = [...new Set(keys)].flatMap((key): Undeleted[] => {
      const until = this.locks.get(key)
      return until === undefined ? [] : [{ key, message: 'AccessDenied: forbidden by object lock', until }]
    })
    if (refused.length > 0) throw deletionRefused(refused)
  }

  override async keeping(): Promise<Keeping> {
    return this.keeps
  }
}
