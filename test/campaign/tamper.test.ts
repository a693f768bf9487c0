import { expect, test } from 'vitest'
import { runCampaign } from './campaign.ts'
import { tamper } from './tamper.ts'

test('a changed, removed, inserted or moved event is named, and a head noted elsewhere shows a rewritten or cut history', {
  timeout: 240_000,
}, async () => {
  const tally = await runCampaign(tamper, { seeds: 16, first: Number(process.env.TIDEMARK_SEED ?? 1) })
  for (const attack of ['change', 'remove', 'insert', 'swap', 'renumber']) {
    const seen = tally.of(`${attack} seen by the chain`) + tally.of(`${attack} with a new chain seen by the head`)
    expect(seen, attack).toBeGreaterThan(0)
  }
  expect(tally.of('rollbacks seen')).toBeGreaterThan(0)
})
