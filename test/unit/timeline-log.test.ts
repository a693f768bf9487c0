import { expect, test } from 'vitest'
import type { StreamEntry } from '../../src/model/timeline.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'

/** The stream of a writer, by its number. */
const idOf = (writer: number): string => String(writer).padStart(26, '0')

function stream(writer: number, lastSequence: number): StreamEntry {
  return {
    id: idOf(writer),
    state: 'open',
    host: 'h',
    pid: 1,
    journal: { kind: 'memory' },
    openedAt: '0'.repeat(26),
    sealedThrough: '0'.repeat(26),
    lastSequence,
    lastUlid: '0'.repeat(26),
    chain: '0'.repeat(64),
    owner: '0'.repeat(16),
  }
}

test('racing writers lose no commit, and every generation reads as it was written', async () => {
  const store = new MemoryStore()
  const logs = await Promise.all([1, 2, 3].map(() => TimelineLog.open(store)))
  await Promise.all(
    logs.flatMap((log, writer) =>
      Array.from({ length: 60 }, (_, i) =>
        log.commit((timeline) => {
          const known = timeline.streams.find(({ id }) => id === idOf(writer))
          expect(known?.lastSequence ?? 0).toBe(i)
          return { putStreams: [stream(writer, i + 1)] }
        }),
      ),
    ),
  )
  const { timeline } = await TimelineLog.open(store)
  expect(timeline.generation).toBe(180)
  expect(timeline.streams.map(({ id, lastSequence }) => `${id} ${lastSequence}`).sort()).toEqual([
    `${idOf(0)} 60`,
    `${idOf(1)} 60`,
    `${idOf(2)} 60`,
  ])
  for (const log of logs) expect(await log.refresh()).toEqual(timeline)
})

test('a reader finds the latest of thousands of generations, and a damaged one stops it by name', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  for (let i = 1; i <= 2500; i++) await log.commit(() => ({ putStreams: [stream(0, i)] }))
  expect((await TimelineLog.open(store)).timeline).toEqual(log.timeline)
  await store.put('timeline/000000002500.json', new Uint8Array(Buffer.from('{"format":1')))
  await expect(TimelineLog.open(store)).rejects.toMatchObject({
    code: 'TIMELINE_CORRUPT',
    details: { key: 'timeline/000000002500.json' },
  })
})
