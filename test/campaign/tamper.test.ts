import { expect, test } from 'vitest'
import { runCampaign } from './campaign.ts'
import { tamper } from './tamper.ts'

test('a changed, removed, inserted or moved event is named, and a head noted elsewhere shows a rewritten or cut history', {
  timeout: 240_000,
}, async () => {
  const tally = await runCampaign(tamper, { seeds: 8, first: Number(process.env.TIDEMARK_SEED ?? 1) })
  for (const attack of ['change', 'remove', 'insert', 'swap', 'renumber']) {
    const seen = tally.of(`${attack} seen by the chain`) + tally.of(`${attack} with a new chain seen`)
    expect(seen, attack).toBeGreaterThan(0)
  }
  const forged = tally.of('forged snapshots seen') + tally.of('forged snapshots seen by the head')
  expect(forged + tally.of('histories without a snapshot')).toBe(2)
  for (const what of ['rollbacks seen', 'merges', 'segments pruned', 'changes in runs seen']) {
    expect(tally.of(what), what).toBeGreaterThan(0)
  }
})
