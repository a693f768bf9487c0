import { expect, test } from 'vitest'
import { BROKEN_BUILDS, caughtAt } from './broken-builds.ts'
import { runCampaign } from './campaign.ts'
import { simulateCampaign } from './simulate.ts'

test('nothing that was acknowledged is lost to a power cut, wherever it comes', async () => {
  const tally = await runCampaign(simulateCampaign(), { seeds: 80 })
  // The campaign must have met what it is about.
  for (const place of ['journal write', 'journal sync', 'store write', 'store sync', 'store rename', 'store link']) {
    expect(tally.of(`at ${place}`), place).toBeGreaterThan(0)
  }
  for (const kind of [
    'full disks',
    'failed syncs',
    'refused',
    'cuts',
    'kills',
    'in recovery',
    'sectors dropped',
    'sectors kept',
    'writes torn',
    'names lost',
  ]) {
    expect(tally.of(kind), kind).toBeGreaterThan(0)
  }
})

test.for(BROKEN_BUILDS)('it is noticed where %s', async ([_, broken, seeds]) => {
  expect(await caughtAt(broken, seeds)).not.toBeNull()
})
