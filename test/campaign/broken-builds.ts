import type { Body, ObjectStore, PutOptions } from '../../src/store/object-store.ts'
import type { Broken } from '../support/simulated-process.ts'
import { Tally } from './campaign.ts'
import { simulateCampaign } from './simulate.ts'

const TURNS = 4

/** Builds that a power cut takes data from, and within how many seeds the campaign must have seen it. */
export const BROKEN_BUILDS: readonly (readonly [string, Broken, number])[] = [
  ['the journal is not synced', { disk: { syncDoesNothing: true } }, 10],
  ['a write is acknowledged before the journal is synced', { disk: { resolvesEarly: true } }, 40],
  ['a write is done before its intent outlives the process', { disk: { saysWrittenFirst: true } }, 200],
  ['a failed sync of the journal is taken for a success', { disk: { hidesFailures: true } }, 200],
  ['files of the store are not synced', { files: { contentIsNotSynced: true } }, 10],
  ['directories of the store are not synced after a rename or link', { files: { namesAreNotSynced: true } }, 10],
  ['the timeline is committed before the segment is durable', { store: withoutWaiting }, 40],
]

/** The first seed that catches a broken build, with what it says; null where none does. */
export async function caughtAt(broken: Broken, seeds: number): Promise<{ seed: number; why: string } | null> {
  const campaign = simulateCampaign(broken)
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      await campaign.run(seed, new Tally())
    } catch (error) {
      return { seed, why: error instanceof Error ? error.message : String(error) }
    }
  }
  return null
}

/** Says of a segment that it is durable when it is only about to be written. Whoever reads waits for it: only a cut shows. */
function withoutWaiting(store: ObjectStore): ObjectStore {
  let written: Promise<void> = Promise.resolve()
  return {
    put: async (key: string, body: Body, options?: PutOptions) => {
      if (!key.startsWith('segment/')) return store.put(key, body, options)
      const late = async (): Promise<void> => {
        for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve))
        await store.put(key, body, options)
      }
      written = late().catch(() => undefined) // nobody who commits waits for it
    },
    get: (key, range) => (key.startsWith('segment/') ? written : Promise.resolve()).then(() => store.get(key, range)),
    head: (key) => store.head(key),
    list: async function* (prefix, options) {
      if (prefix === '') await written
      yield* store.list(prefix, options)
    },
    delete: (keys) => store.delete(keys),
  }
}
