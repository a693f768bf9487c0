import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TimelineChange } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { segment, streamOf } from '../support/many-segments.ts'

/** What one commit does: to a stream, a mark, or a loss. */
interface Step {
  readonly what: 'open' | 'close' | 'seal' | 'mark' | 'unmark' | 'lose'
  readonly number: number
}

const STREAMS = 12
const steps = fc.array(
  fc.record<Step>({
    what: fc.constantFrom('open', 'close', 'close', 'seal', 'mark', 'mark', 'unmark', 'lose'),
    number: fc.nat(STREAMS - 1),
  }),
  { minLength: 100, maxLength: 300, size: 'max' },
)
const idOf = (number: number): string => firstUlidAt(1_700_000_000_000 + number)

function changeOf({ what, number }: Step, commit: number): TimelineChange {
  const id = idOf(number)
  if (what === 'mark') return { putMark: { name: `m${number}`, ulid: idOf(commit), at: idOf(commit) } }
  if (what === 'unmark') return { removeMark: `m${number}` }
  // Long ones: the root soon has enough for a leaf.
  const reason = 'the disk is gone '.repeat(180)
  const lost = { stream: id, firstSequence: commit + 1, after: idOf(0), through: idOf(commit + 1), reason, by: 'Ann' }
  if (what === 'lose') return { addLosses: [{ ...lost, cause: 'ended' }] }
  const stream = streamOf(commit + 1, what === 'close' ? 'closed' : 'open', id)
  return { putStreams: [stream], ...(what === 'seal' ? { addSegments: [segment(commit, id)] } : {}) }
}

test('a timeline that was gone on with, refreshed, or read anew is the same', async () => {
  let leaves = 0
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 40 }), async (all, every) => {
      const store = new MemoryStore()
      const log = await TimelineLog.open(store)
      const reader = await TimelineLog.open(store)
      for (const [commit, step] of all.entries()) {
        await log.commit(() => changeOf(step, commit))
        if (commit % every > 0) continue
        expect(await reader.refresh()).toEqual(log.timeline)
        expect((await TimelineLog.open(store)).timeline).toEqual(log.timeline)
      }
      expect(await reader.refresh()).toEqual(log.timeline)
      expect((await TimelineLog.open(store)).timeline).toEqual(log.timeline)
      leaves = Math.max(leaves, log.present.ledger.leaves.size)
    }),
    { numRuns: 20 },
  )
  expect(leaves).toBeGreaterThan(1)
})
