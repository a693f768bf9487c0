import { expect, test } from 'vitest'
import { runCampaign } from './campaign.ts'
import { flips, flipsWithout } from './flips.ts'

test('a changed byte of any file, of every kind, is named, and no other file is', async () => {
  const tally = await runCampaign(flips, { seeds: 48 })
  expect(tally.toString()).toContain('frame')
  expect(tally.toString()).toContain('key slot')
})

test.each(['journal/', 'snapshot/', 'timeline/'])(
  'a verify that reads nothing under %s is found out',
  async (prefix) => {
    await expect(runCampaign(flipsWithout(prefix), { seeds: 60 })).rejects.toThrow(prefix)
  },
)
