import { expect, test } from 'vitest'
import { timelineKey } from '../../src/format/keys.ts'
import { sealJson, unsealJson } from '../../src/format/sealed-json.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { verifyGenerations } from '../../src/upkeep/verify/generations.ts'
import { type Damage, Inspection } from '../../src/upkeep/verify/inspection.ts'
import { CountingStore } from '../support/stores.ts'

const GENERATIONS = 200

/** A store of that many generations. */
async function storeOf(generations = GENERATIONS): Promise<CountingStore> {
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  const startedAt = firstUlidAt(Date.UTC(2026, 0, 1))
  for (let epoch = 1; epoch <= generations; epoch++) {
    await log.commit(() => ({ addEpoch: { epoch, startedAt, restored: null } }))
  }
  store.reset()
  return store
}

async function damageIn(store: CountingStore, generation = GENERATIONS): Promise<readonly Damage[]> {
  const inspection = new Inspection(store, () => {})
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  await verifyGenerations(inspection, keys, { generation })
  return inspection.damage
}

async function rewrite(store: CountingStore, generation: number, change: (members: object) => object): Promise<void> {
  const members = unsealJson(await store.get(timelineKey(generation)))
  if (members === null) throw new Error(`generation ${generation} is damaged`)
  await store.put(timelineKey(generation), sealJson(change(members)))
  store.reset()
}

const keysOf = (damage: readonly Damage[]): string[] => damage.map(({ key }) => key)
test('each generation is read once, however many there are', async () => {
  const store = await storeOf()
  expect(await damageIn(store)).toEqual([])
  const keys = Array.from({ length: GENERATIONS }, (_, i) => `get ${timelineKey(i + 1)}`)
  expect(store.log.filter((call) => call.startsWith('get'))).toEqual(keys)
})

test('a damaged generation is told once, and says nothing about the one that names it', async () => {
  const store = await storeOf()
  const bytes = await store.get(timelineKey(65))
  await store.put(timelineKey(65), bytes.subarray(0, -10))
  store.reset()
  expect(keysOf(await damageIn(store))).toEqual([timelineKey(65)])
  expect(store.calls.get).toBe(GENERATIONS)
})

test('a generation with another content is told by the next one, and so is one that names another before it', async () => {
  const store = await storeOf()
  await rewrite(store, 70, (members) => ({ ...members, more: true }))
  await rewrite(store, 80, (members) => ({ ...members, previous: '0'.repeat(64) }))
  await rewrite(store, 90, (members) => ({ ...members, timeline: { segments: [] } }))
  const damage = await damageIn(store)
  expect(damage.map(({ key, message }) => [key, /malformed/.test(message)])).toEqual([
    [timelineKey(70), false], // 71 names the hash of what was there
    [timelineKey(79), false],
    [timelineKey(80), false],
    [timelineKey(90), true],
    [timelineKey(90), false],
  ])
})
