import { expect, test } from 'vitest'
import type { Source } from '../../src/index.ts'
import { runCampaign } from './campaign.ts'
import { reconcileCampaign } from './reconcile.ts'

test('every write that was not captured is found, exactly, and is history then', async () => {
  const tally = await runCampaign(reconcileCampaign(), { seeds: 8 })
  for (const name of ['found by reconcile', 'found by the chain', 'restarts']) expect(tally.of(name)).toBeGreaterThan(0)
})

/** A source of which one member is broken. */
function broken(change: (source: Source) => Partial<Source>): (source: Source) => Source {
  return (source) => ({
    identity: source.identity,
    volatile: source.volatile,
    attach: (sink) => source.attach(sink),
    items: (resources) => source.items(resources),
    read: (item) => source.read(item),
    ...change(source),
  })
}

test('a comparison that is broken is caught', async () => {
  // What was deleted is taken for what is still there.
  const forgetful = new Map()
  const ignoresDeletes = broken((source) => ({
    read: async (item) => {
      const image = await source.read(item)
      const key = JSON.stringify([source.identity, item.kind, item.resource, item.id])
      if (image !== null) forgetful.set(key, image)
      return image ?? forgetful.get(key) ?? null
    },
  }))
  const ignoresSchemas = broken((source) => ({
    items: async function* (resources) {
      for await (const items of source.items(resources)) yield items.filter(({ kind }) => kind !== 'schema')
    },
  }))
  const ignoresResources = broken((source) => ({ items: () => source.items() }))
  for (const one of [ignoresDeletes, ignoresSchemas, ignoresResources]) {
    await expect(runCampaign(reconcileCampaign(one), { seeds: 12 })).rejects.toThrow(
      /^seed \d+: .*(findings|counts|state)/,
    )
  }
})
