import { expect, test } from 'vitest'
import { hasCode, TidemarkError } from '../../src/base/errors.ts'
import { pruneArchive } from '../../src/engine/prune.ts'
import { changeBetween, type Event, NO_CONTEXT } from '../../src/model/event.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { withRetry } from '../../src/store/retry.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { checkTold } from '../support/fault-oracle.ts'
import { PRUNING, SOUND_UPKEEP, type UpkeepBuild } from '../support/fault-upkeep.ts'
import { Witness } from '../support/fault-world.ts'
import { recordImage } from '../support/model-database.ts'
import { runCampaign, Tally } from './campaign.ts'
import { faultScenario, faults, type Wrap } from './faults.ts'

test('nothing is lost, doubled or reordered in a store that fails in every way, and comes back', async () => {
  const tally = await runCampaign(faults, { seeds: 12 })
  const kinds = ['timeout before', 'timeout after', 'late', '500', '503', '403', 'lost 412', 'false 412']
  const reads = ['truncated', 'flipped', 'stale list', 'broken list', 'gone for ten minutes']
  const done = ['refused', 'shed', 'crashes', 'reopenings', 'moments right', 'merges', 'snapshots', 'segments pruned']
  for (const name of [...kinds, ...reads, ...done]) {
    expect(tally.of(name), name).toBeGreaterThan(0)
  }
})

/** The store as `change` makes it, with the retries of production. */
function broken(change: (store: ObjectStore) => Partial<ObjectStore>): Wrap {
  return (storm, clock, next) => {
    const inner: ObjectStore = {
      put: (key, body, options) => storm.put(key, body, options),
      get: (key, range) => storm.get(key, range),
      head: (key) => storm.head(key),
      list: (prefix, options) => storm.list(prefix, options),
      delete: (keys) => storm.delete(keys),
    }
    return withRetry({ ...inner, ...change(inner) }, { clock, random: next })
  }
}

const BROKEN: readonly (readonly [string, Wrap])[] = [
  [
    'a put whose answer is missing is taken for done',
    broken((store) => ({
      put: (key, body, options) =>
        store.put(key, body, options).catch((error: unknown) => {
          if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error
        }),
    })),
  ],
  [
    'a commit that another process was faster with is taken for made',
    broken((store) => ({
      put: (key, body, options) =>
        store.put(key, body, options).catch((error: unknown) => {
          if (!hasCode(error, 'OBJECT_EXISTS')) throw error
        }),
    })),
  ],
  ['a put overwrites what is there', broken((store) => ({ put: (key, body) => store.put(key, body) }))],
  [
    'a segment is not waited for, and sometimes lost',
    broken((store) => ({
      put: (key, body, options) => {
        const put = store.put(key, body, options)
        if (!key.startsWith('segment/')) return put
        put.catch(() => undefined) // that is what is broken
        return Promise.resolve()
      },
    })),
  ],
]

test.for(BROKEN)('it is noticed where %s', async ([_, wrap]) => {
  let caught: unknown = null
  for (let seed = 1; caught === null && seed <= 20; seed++) {
    await faultScenario(seed, new Tally(), wrap).catch((error: unknown) => {
      caught = error
    })
  }
  expect(caught).toBeInstanceOf(Error)
})

/** Upkeep that is wrong, in one part of it. */
const BROKEN_UPKEEP: readonly (readonly [string, Partial<UpkeepBuild>])[] = [
  [
    'a merge leaves out what one of its segments has',
    {
      write: (store) => async (request, onFile) => {
        const { units } = request
        const written = await writeRun(store, { ...request, units: units.slice(0, -1) }, onFile)
        return { ...written, replaced: units.flat().map(({ key }) => key) }
      },
    },
  ],
  [
    'a snapshot folds one segment too few',
    { folded: (plan) => (plan.segments.length < 2 ? plan : { ...plan, segments: plan.segments.slice(0, -1) }) },
  ],
  [
    'a pruning deletes before its commit, and dies between',
    {
      beforePrune: async (archive) => {
        const { segments } = (await pruneArchive(archive, { ...PRUNING, confirm: false })).plan
        if (segments.length === 0) return
        await archive.seams.store.delete(segments.map(({ key }) => key))
        throw new TidemarkError('STORE_UNAVAILABLE', 'It died.', { hint: '' })
      },
    },
  ],
]

test.for(BROKEN_UPKEEP)('it is noticed where %s', async ([_, part]) => {
  const build = { ...SOUND_UPKEEP, ...part }
  let caught: unknown = null
  for (let seed = 1; caught === null && seed <= 20; seed++) {
    await faultScenario(seed, new Tally(), undefined, build).catch((error: unknown) => {
      caught = error
    })
  }
  expect(caught).toBeInstanceOf(Error)
})

test('a history in which an event is missing, double, out of its order or of nobody is noticed', () => {
  const witness = new Witness()
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  const images = [null, ...[1, 2, 3].map((n) => recordImage({ n }))]
  const events = images.slice(1).map((after, i): Event => {
    const before = images[i] ?? null
    witness.tells(item, before, after, i).outcome = 'acknowledged'
    const stamp = { ulid: String(i).padStart(26, '0'), stream: 's', sequence: i + 1 }
    const change = changeBetween(item, before, after, NO_CONTEXT)
    if (change === null) throw new Error('nothing has changed')
    return { ...change, stamp }
  })
  const [one, two, three] = events
  if (one === undefined || two === undefined || three === undefined) throw new Error('three events')
  expect(checkTold(events, witness)).toEqual([])
  expect(checkTold([one, three], witness).map(({ from }) => from)).toEqual([1])
  expect(() => checkTold([one, two, two, three], witness)).toThrow('told')
  expect(() => checkTold([two, one, three], witness)).toThrow('told')
  expect(() => checkTold([...events, { ...three, id: 'b' }], witness)).toThrow('out of nowhere')
})
