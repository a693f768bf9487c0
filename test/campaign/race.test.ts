import { expect, test } from 'vitest'
import type { Broken } from '../support/race-world.ts'
import { runCampaign, Tally } from './campaign.ts'
import { race, schedule } from './race.ts'

test('whatever the order of their steps, the last event of a record is what the database holds', async () => {
  const tally = await runCampaign(race, { seeds: 400, first: Number(process.env.TIDEMARK_SEED ?? 1) })
  for (const what of ['kills', 'observations', 'acknowledged writes', 'schedules with records in two files']) {
    expect(tally.of(what), what).toBeGreaterThan(50)
  }
})

/* The test of the test: each rule of the protocol is needed, and the race shows it. */
test.each<Broken>(['deaf', 'mute', 'reads before it tells', 'reads nothing', 'watches nothing'])(
  'a process that is broken so does not go unnoticed: %s',
  async (broken) => {
    const run = async (): Promise<void> => {
      for (let seed = 1; seed <= 3000; seed++) await schedule(seed, new Tally(), broken)
    }
    await expect(run()).rejects.toThrow('the last event says')
  },
)
