import { expect, test } from 'vitest'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { runCampaign } from './campaign.ts'
import { catalogueCampaign } from './catalogue.ts'

test('what is committed is there once, whoever sleeps, dies, writes again or forgets beside it', async () => {
  const tally = await runCampaign(catalogueCampaign(), { seeds: 12 })
  for (const name of ['crashes', 'generations forgotten', 'segments written again'])
    expect(tally.of(name)).toBeGreaterThan(0)
})

test('who writes nodes anew that others have let go of meanwhile goes on from theirs', async () => {
  const tally = await runCampaign(catalogueCampaign(), { first: 26, seeds: 1 })
  expect(tally.of('segments written again')).toBeGreaterThan(0)
})

test('a node stays as long as any generation that stays names it, also one that an earlier attempt had put', async () => {
  const tally = await runCampaign(catalogueCampaign(), { first: 165, seeds: 1 })
  expect(tally.of('generations forgotten')).toBeGreaterThan(0)
})

/** A process that does not look whether others are ahead once it has put its generation. */
function neverLooks(store: ObjectStore): ObjectStore {
  let hasPut = false
  return {
    put: async (key, body, options) => {
      hasPut = key.startsWith('timeline/')
      await store.put(key, body, options)
    },
    get: (key, range) => store.get(key, range),
    head: (key) => store.head(key),
    list: async function* (prefix, options) {
      if (!hasPut) yield* store.list(prefix, options)
      hasPut = false
    },
    delete: (keys) => store.delete(keys),
  }
}

test('a build that takes a number for its own that was forgotten is caught', async () => {
  await expect(runCampaign(catalogueCampaign(neverLooks), { seeds: 40 })).rejects.toThrow(/^seed \d+: /)
})
