import { expect, test } from 'vitest'
import { runCampaign, Tally } from './campaign.ts'
import { prune, scenario } from './prune.ts'

test('what is promised stays what it was, whoever is killed while he prunes, and the rest goes', {
  timeout: 120_000,
}, async () => {
  const short = { ...prune, run: (seed: number, tally: Tally) => scenario(seed, tally, 25) }
  const tally = await runCampaign(short, { seeds: 6, first: Number(process.env.TIDEMARK_SEED ?? 1) })
  const done = ['prunings', 'prunings that were killed', 'moments restored', 'moments refused', 'snapshots restored']
  for (const what of done) expect(tally.of(what), what).toBeGreaterThan(0)
})

/* The tests of the test. */
test('what goes too early, and what never goes, does not go unnoticed', { timeout: 60_000 }, async () => {
  const [less, more] = [{ window: '2d' }, { window: '12d' }]
  await expect(scenario(1, new Tally(), 30, { told: more, done: less })).rejects.toThrow('was promised, and is gone')
  await expect(scenario(1, new Tally(), 30, { told: less, done: more })).rejects.toThrow('is needed by nothing')
})
