import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Chain } from '../../src/capture/chain.ts'
import { Findings } from '../../src/capture/findings.ts'
import { Journal } from '../../src/capture/journal.ts'
import { JournalBound } from '../../src/capture/journal-bound.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { NO_PEERS } from '../../src/capture/peers.ts'
import { Recorder } from '../../src/capture/recorder.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import { NO_CONTEXT } from '../../src/model/event.ts'
import { recordImage } from '../support/model-database.ts'

const logger = createLogger()
const item = { kind: 'record' as const, resource: 'r', id: 'a' }

async function frames(volatile: boolean): Promise<{ atWrite: number[]; after: number[] }> {
  const log = new MemoryLog()
  const { journal } = await Journal.open({ log, stream: '01KAAAAAAAAAAAAAAAAAAAAAAA', clock: systemClock })
  const seams = {
    journal,
    clock: systemClock,
    log: createLogger(),
    limitBytes: 1e6,
    reached: () => {},
    resumed: () => {},
  }
  const recorder = new Recorder({
    journal,
    bound: new JournalBound({ ...seams, whenFull: 'refuse' }),
    clock: systemClock,
    noticed: () => {},
    doubted: () => {},
    read: async () => null,
    volatile,
    log: logger,
    peers: NO_PEERS,
    chain: new Chain({ isAloneSince: () => true, mark: () => journal.mark() }),
    findings: new Findings({ clock: systemClock, log: logger, aloneSince: async () => true }),
  })
  const intents = async (): Promise<number[]> => {
    const counts: number[] = []
    for await (const frame of log.read(1)) counts.push([...decodeFrame(frame).intents()].length)
    return counts
  }
  let atWrite: number[] = []
  await recorder.capture([item], NO_CONTEXT, {
    read: async () => [null],
    perform: async () => {
      atWrite = await intents()
    },
    after: () => [recordImage({ id: 'a' })],
  })
  await journal.flush()
  return { atWrite, after: await intents() }
}

test('the intent is durable before the write, unless the database is gone with the process anyway', async () => {
  const kept = await frames(false)
  expect(kept.atWrite.reduce((sum, count) => sum + count, 0)).toBe(1)
  const volatile = await frames(true)
  expect(volatile.after.reduce((sum, count) => sum + count, 0)).toBe(0)
})
