import { afterEach, expect, test, vi } from 'vitest'
import { Backlog } from '../../src/capture/backlog.ts'
import { ClockWatch } from '../../src/engine/clock-watch.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { runCampaign } from './campaign.ts'
import { clockCampaign } from './clock.ts'

afterEach(() => vi.restoreAllMocks())

test('whatever the clock does, order, moments and restores are right, and what was clamped is told', async () => {
  const tally = await runCampaign(clockCampaign, { seeds: 6 })
  const kinds = ['forward a year', 'back a year', 'back a day', 'stands still', 'runs backwards', 'times refused']
  for (const kind of [...kinds, 'times resolved', 'stamps ahead of the clock', 'warnings'])
    expect(tally.of(kind), kind).toBeGreaterThan(0)
})

test('it is noticed where an opening does not go on after the last stamp', async () => {
  vi.spyOn(UlidGenerator.prototype, 'advanceTo').mockImplementation(() => {})
  await expect(runCampaign(clockCampaign, { seeds: 3 })).rejects.toThrow(/by stamp|final|FENCED|damage|journal/i)
})

test('it is noticed where nobody says that stamps run ahead', async () => {
  vi.spyOn(ClockWatch.prototype, 'look').mockImplementation(() => {})
  await expect(runCampaign(clockCampaign, { seeds: 3 })).rejects.toThrow('0 warnings of')
})

test('it is noticed where lag is told by a stamp that lies in the future', async () => {
  vi.spyOn(Backlog.prototype, 'waitedMs').mockReturnValue(0)
  await expect(runCampaign(clockCampaign, { seeds: 3 })).rejects.toThrow('after another hour')
})
