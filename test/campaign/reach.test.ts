import { expect, test } from 'vitest'
import { runCampaign, Tally } from './campaign.ts'
import { type Forget, reachCampaign } from './reach.ts'

const first = Number(process.env.TIDEMARK_SEED ?? 1)

test('every verdict is what really happened, every drill tells the truth', { timeout: 120_000 }, async () => {
  const tally = await runCampaign(reachCampaign(), { seeds: 6, first })
  const kinds = ['yes', 'except', 'no', 'drills passed', 'wrong restores caught']
  for (const kind of [...kinds, 'segments and runs merged', 'segments pruned', 'pruned']) {
    expect(tally.of(kind), kind).toBeGreaterThan(0)
  }
})

/** Whether one of these seeds fails over a build that forgets something. */
async function isCaught(seeds: readonly number[], forget: Forget): Promise<boolean> {
  for (const seed of seeds) {
    try {
      await reachCampaign(forget).run(seed, new Tally())
    } catch {
      return true
    }
  }
  return false
}

test('a build that forgets what it lost is caught', { timeout: 120_000 }, async () => {
  expect(await isCaught([6, 9], (timeline) => ({ ...timeline, losses: [] }))).toBe(true)
})

test('a build in which a snapshot through a gap passes for whole is caught', { timeout: 120_000 }, async () => {
  const launder: Forget = (timeline) => ({
    ...timeline,
    snapshots: timeline.snapshots.map(({ except: _, ...snapshot }) => snapshot),
  })
  expect(await isCaught([38, 42, 48], launder)).toBe(true)
})
