import { expect, test } from 'vitest'
import { storeLogKey } from '../../src/capture/store-log.ts'
import { timelineKey } from '../../src/format/keys.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { verifyFrames } from '../../src/upkeep/verify/frames.ts'
import { verifyGenerations } from '../../src/upkeep/verify/generations.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { buildFrame, STREAM } from '../support/journal-frames.ts'

const EMPTY = { changes: [], intents: [], aborted: [] }

function inspectionOf(store: MemoryStore): Inspection {
  return new Inspection(store, () => {})
}

async function framesOf(keepFrom: number, ...numbers: number[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  for (const number of numbers) await store.put(storeLogKey(STREAM, number), buildFrame(number, 1, EMPTY, keepFrom))
  return store
}

async function missingFrames(store: MemoryStore): Promise<string[]> {
  const inspection = inspectionOf(store)
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  await verifyFrames(inspection, keys, store)
  return inspection.damage.map(({ key }) => key)
}

test('each frame that is missing between the oldest that is needed and the newest is named', async () => {
  expect(await missingFrames(await framesOf(5, 5, 6, 9, 10, 12))).toEqual([7, 8, 11].map((n) => storeLogKey(STREAM, n)))
  expect(await missingFrames(await framesOf(10, 5, 6, 9, 10, 11))).toEqual([])
})

test('a file that is named for a number far away does not make verify name all before it', async () => {
  const frames = await missingFrames(await framesOf(1, 1, 9_007_199_254_740_000))
  expect(frames.length).toBeLessThan(200)
  expect(frames[0]).toBe(storeLogKey(STREAM, 2))
  const store = new MemoryStore()
  const far = timelineKey(999_999_999_999)
  await store.put(far, Buffer.from('{}'))
  const inspection = inspectionOf(store)
  await verifyGenerations(inspection, [far], { generation: 1 })
  expect(inspection.damage.length).toBeLessThan(200)
  expect(inspection.damage[0]?.key).toBe(timelineKey(1))
  expect(inspection.damage.some(({ message }) => message.includes('and so are the'))).toBe(true)
  expect(inspection.damage.at(-1)?.key).toBe(far)
})

test('a generation that is missing at the end is named', async () => {
  const inspection = inspectionOf(new MemoryStore())
  await verifyGenerations(inspection, [], { generation: 2 })
  expect(inspection.damage.map(({ key }) => key)).toEqual([timelineKey(1), timelineKey(2)])
})
