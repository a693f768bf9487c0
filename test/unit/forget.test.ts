import { expect, test } from 'vitest'
import { isHeadsKey, isNodeKey, parseTimelineKey, timelineKey } from '../../src/format/keys.ts'
import type { Head } from '../../src/model/head.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { lastForgotten } from '../../src/timeline/head.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachNode } from '../../src/timeline/segments.ts'
import { checkHead } from '../../src/upkeep/head.ts'
import { commitRepair, planRepair } from '../../src/upkeep/repair.ts'
import { verifyGenerations } from '../../src/upkeep/verify/generations.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { allSegments } from '../support/catalogue.ts'
import { LockedStore } from '../support/locked-store.ts'
import { segment, segments, streamOf } from '../support/many-segments.ts'
import { CountingStore, FaultyStore } from '../support/stores.ts'

const FEW = { kept: 10, least: 5 }

const next = (n: number) => ({ putStreams: [streamOf(n + 1)], addSegments: [segment(n)] })

async function commit(log: TimelineLog, count: number, from = log.timeline.generation): Promise<Head[]> {
  const heads: Head[] = []
  for (let n = from; n < from + count; n++) {
    await log.commit(() => next(n))
    if (log.head !== null) heads.push(log.head)
  }
  return heads
}

async function keysIn(store: ObjectStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  return keys
}

const generationsIn = async (store: ObjectStore): Promise<number[]> =>
  (await keysIn(store)).flatMap((key) => parseTimelineKey(key) ?? [])

async function damageIn(store: ObjectStore, log: TimelineLog): Promise<string[]> {
  const inspection = new Inspection(store, () => {})
  await verifyGenerations(inspection, await keysIn(store), log.timeline)
  return inspection.damage.map(({ key }) => key)
}

test('old generations go, and everything that they said is there', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 100)
  expect(await forgetGenerations(store, log, FEW)).toMatchObject({ generations: 90 })
  expect(await generationsIn(store)).toEqual(Array.from({ length: 11 }, (_, i) => 91 + i))
  const again = await TimelineLog.open(store)
  expect(again.timeline).toEqual(log.timeline)
  expect(await allSegments(store, again.timeline)).toEqual(segments(100))
  expect(await forgetGenerations(store, again, FEW)).toMatchObject({ generations: 0 })
  expect(await damageIn(store, again)).toEqual([])
})

test('a head that was noted at any time is checked against a store that has forgotten its file', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  const heads: Head[] = []
  for (let round = 0; round < 4; round++) {
    heads.push(...(await commit(log, 30, heads.length)))
    await forgetGenerations(store, log, FEW)
  }
  expect(lastForgotten(log.timeline)).toBeGreaterThan(100)
  for (const head of heads) {
    await checkHead(store, log.timeline, head)
    const other = { ...head, sha256: head.sha256.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) }
    await expect(checkHead(store, log.timeline, other)).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT' })
  }
  const lists = (await keysIn(store)).filter(isHeadsKey)
  expect(lists).toHaveLength(1) // a short list is made longer, and the one before goes
  expect((await store.get(lists[0] ?? '')).length).toBe(32 * lastForgotten(log.timeline))
})

test('a list of heads that is damaged is told, and so is a generation that does not go on from it', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 40)
  await forgetGenerations(store, log, FEW)
  const [list = ''] = (await keysIn(store)).filter(isHeadsKey)
  const bytes = Buffer.from(await store.get(list))
  await store.put(list, Buffer.from(bytes).fill(0, 5, 6))
  expect(await damageIn(store, log)).toEqual([list])
  await store.delete([list])
  expect(await damageIn(store, log)).toEqual([list])
  await store.put(list, bytes)
  const first = lastForgotten(log.timeline) + 1
  await store.put(timelineKey(first), await store.get(timelineKey(first + 1)))
  expect(await damageIn(store, log)).toContain(timelineKey(first))
})

test('a writer that slept while its number was forgotten has not committed, and what it wanted is committed behind the others', async () => {
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  await commit(log, 20)
  const sleeper = await TimelineLog.open(store)
  const young = await TimelineLog.open(new MemoryStore())
  expect(young.timeline.generation).toBe(0)
  await commit(log, 60, 20)
  await forgetGenerations(store, log, FEW)
  expect((await generationsIn(store))[0]).toBeGreaterThan(60)
  store.reset()
  const epoch = { epoch: 1, startedAt: firstUlidAt(1), restored: null }
  const asked: number[] = []
  await sleeper.commit(({ generation }) => {
    asked.push(generation)
    return { addEpoch: epoch }
  })
  // The put of 21 succeeded, since nothing was there.
  expect(store.log).toContain(`put ${timelineKey(21)}`)
  expect(asked).toEqual([20, 81])
  await log.refresh()
  expect(log.timeline.epochs).toEqual([epoch])
  expect(await allSegments(store, log.timeline)).toEqual(segments(80))
  expect((await TimelineLog.open(store)).timeline).toEqual(log.timeline)
  // What it has left is none of the generations, and goes with the next ones.
  expect(await damageIn(store, log)).toEqual([])
  await commit(log, 20, 80)
  await forgetGenerations(store, log, FEW)
  expect(await generationsIn(store)).not.toContain(21)
})

test('a commit that others went on from before it looked is a commit', async () => {
  const inner = new MemoryStore()
  const other = await TimelineLog.open(inner)
  await commit(other, 5)
  let isAhead = false
  const overtaking: ObjectStore = {
    put: async (key, body, options) => {
      await inner.put(key, body, options)
      if (key !== timelineKey(6) || isAhead) return
      isAhead = true
      await other.refresh()
      await commit(other, 3, 6)
    },
    get: (key, range) => inner.get(key, range),
    head: (key) => inner.head(key),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (keys) => inner.delete(keys),
  }
  const log = await TimelineLog.open(overtaking)
  let asked = 0
  await log.commit(() => {
    asked++
    return next(5)
  })
  expect([isAhead, asked]).toEqual([true, 1])
  const { timeline } = await TimelineLog.open(inner)
  expect(await allSegments(inner, timeline)).toEqual(segments(9))
})

test('nodes that no timeline names go when nobody can be about to name them, and no others', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ putStreams: [streamOf(500)], addSegments: segments(500) }))
  const entry = { resource: 'r', mode: 'rewritten', reason: 'x', by: null, events: 1, snapshots: 0 } as const
  for (let n = 0; n < 20; n++) {
    const old = segment(n * 20)
    const by = { ...old, key: old.key.replace('0123abcd', '99999999') }
    const ulid = firstUlidAt(1_770_000_000_000 + n)
    await log.commit(() => ({ erase: { entry: { ...entry, ulid }, segments: [{ key: old.key, by }], snapshots: [] } }))
  }
  const stray = 'node/000000000040-00000000.json'
  await store.put(stray, new Uint8Array([1]))
  const nodes = async (): Promise<string[]> => (await keysIn(store)).filter(isNodeKey)
  const before = (await nodes()).length
  await forgetGenerations(store, log, { kept: 1, least: 1 })
  const named: string[] = log.present.ledger.nodes.map(({ key }) => key)
  for await (const { key } of eachNode(log.nodes.segments, log.timeline.segments)) named.push(key)
  // Of attempts at generations that have not gone nobody knows what becomes.
  expect((await nodes()).length).toBeLessThan(before)
  expect(await nodes()).toContain(stray)
  for (const key of named) expect(await nodes()).toContain(key)
  await commit(log, 40, 500)
  await forgetGenerations(store, log, { kept: 1, least: 1 })
  expect(await nodes()).not.toContain(stray)
  expect(await allSegments(store, (await TimelineLog.open(store)).timeline)).toHaveLength(540)
})

test('broken off anywhere, it has lost nothing, and is done by the next one', async () => {
  for (let call = 1; ; call++) {
    const inner = new MemoryStore()
    const log = await TimelineLog.open(inner)
    const heads = await commit(log, 40)
    let calls = 0
    const faulty = new FaultyStore(inner, () => (++calls === call ? 'after' : null))
    const broken = await forgetGenerations(faulty, await TimelineLog.open(inner), FEW).then(
      () => false,
      () => true,
    )
    const again = await TimelineLog.open(inner)
    expect(await allSegments(inner, again.timeline)).toEqual(segments(40))
    await commit(again, 20, 40)
    await forgetGenerations(inner, again, FEW)
    expect((await generationsIn(inner))[0]).toBe(lastForgotten(again.timeline) + 1)
    expect(await damageIn(inner, again)).toEqual([])
    for (const head of heads) await checkHead(inner, again.timeline, head)
    if (!broken && calls < call) break
  }
})

test('two that do it at once do it once', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 60)
  const both = await Promise.all([log, await TimelineLog.open(store)].map((one) => forgetGenerations(store, one, FEW)))
  expect(both.filter(({ generations }) => generations > 0)).toHaveLength(1)
  expect(await damageIn(store, log)).toEqual([])
  expect(await allSegments(store, (await TimelineLog.open(store)).timeline)).toEqual(segments(60))
})

test('a verification beside it takes nothing for missing that went as it should', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 30)
  await forgetGenerations(store, log, FEW)
  await commit(log, 30, 30)
  const before = log.timeline
  const keys = await keysIn(store)
  await forgetGenerations(store, log, FEW)
  const damaged = async (forgottenNow?: () => Promise<number>): Promise<string[]> => {
    const inspection = new Inspection(store, () => {})
    await verifyGenerations(inspection, keys, before, forgottenNow)
    return inspection.damage.map(({ key }) => key)
  }
  expect(await damaged(async () => lastForgotten(log.timeline))).toEqual([])
  expect((await damaged()).length).toBeGreaterThan(20)
})

test('what goes after a catalogue was lost begins with the repair, and not with the numbers that it passed over', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 20)
  await forgetGenerations(store, log, FEW)
  for (const key of (await keysIn(store)).filter((one) => parseTimelineKey(one) !== null)) await store.delete([key])
  const plan = await planRepair(store, () => {})
  await commitRepair(store, plan)
  const again = await TimelineLog.open(store)
  const first = again.timeline.generation
  expect(first).toBe(1_000_000_000)
  const heads: Head[] = []
  for (let n = 0; n < 40; n++) {
    const id = firstUlidAt(1_780_000_000_000 + n)
    await again.commit(() => ({ putStreams: [streamOf(1, 'closed', id)], addSegments: [segment(0, id)] }))
    if (again.head !== null) heads.push(again.head)
    if (n % 10 === 9) await forgetGenerations(store, again, FEW)
  }
  expect(again.timeline.forgotten).toMatchObject([{ first }])
  expect(lastForgotten(again.timeline)).toBeGreaterThan(first + 20)
  for (const head of heads) await checkHead(store, again.timeline, head)
  expect(await damageIn(store, again)).toEqual([])
})

test.each(['damaged', 'missing'])('behind a list of heads that is %s another one begins', async (what) => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 40)
  await forgetGenerations(store, log, FEW)
  const [list = ''] = (await keysIn(store)).filter(isHeadsKey)
  if (what === 'missing') await store.delete([list])
  else await store.put(list, Buffer.from(await store.get(list)).fill(0, 5, 6))
  const heads = await commit(log, 40, 40)
  await forgetGenerations(store, log, FEW)
  expect(log.timeline.forgotten).toHaveLength(2)
  expect(await damageIn(store, log)).toEqual([list])
  for (const head of heads) await checkHead(store, log.timeline, head)
})

test('what is locked stays and is tried again, and everything else goes', async () => {
  const store = new LockedStore()
  const log = await TimelineLog.open(store)
  await commit(log, 100)
  const locked = timelineKey(17)
  store.locks.set(locked, null)
  const { generations, files, refused } = await forgetGenerations(store, log, FEW)
  expect([generations, refused.map(({ key }) => key)]).toEqual([90, [locked]])
  expect(await generationsIn(store)).toEqual([17, ...Array.from({ length: 11 }, (_, i) => 91 + i)])
  expect(files).toBe(store.asked.length - 1)
  await commit(log, 20)
  expect((await forgetGenerations(store, log, FEW)).refused.map(({ key }) => key)).toEqual([locked])
  expect(await damageIn(store, log)).toEqual([])
  store.locks.clear()
  await commit(log, 20)
  expect((await forgetGenerations(store, log, FEW)).refused).toEqual([])
  expect((await generationsIn(store))[0]).toBeGreaterThan(100)
})

test('where nothing may be deleted whoever captures says so once, and does not ask again', async () => {
  const inner = new LockedStore()
  const before = await TimelineLog.open(inner)
  for (let n = 0; n < 520; n++) await before.commit(() => ({}))
  for (const key of await keysIn(inner)) inner.locks.set(key, null)
  const log = await TimelineLog.open(inner)
  const failures: unknown[] = []
  log.forgetting((error) => failures.push(error))
  for (let n = 0; n < 300; n++) {
    await log.commit(() => ({}))
    await log.settled()
  }
  expect(failures).toMatchObject([{ code: 'STORE_DENIED' }])
})

test('what cannot be let go is not tried at each commit', async () => {
  const inner = new MemoryStore()
  const before = await TimelineLog.open(inner)
  for (let n = 0; n < 520; n++) await before.commit(() => ({}))
  const faulty = new FaultyStore(inner, (verb, key) => (verb === 'put' && isHeadsKey(key) ? 'before' : null))
  const log = await TimelineLog.open(faulty)
  let failures = 0
  log.forgetting(() => failures++)
  for (let n = 0; n < 100; n++) {
    await log.commit(() => ({}))
    await log.settled()
  }
  expect(failures).toBe(2)
})

test('no generation goes where the list of its hash does not read back', async () => {
  const inner = new MemoryStore()
  const log = await TimelineLog.open(inner)
  await commit(log, 40)
  const lying: ObjectStore = {
    put: (key, body, options) => inner.put(key, isHeadsKey(key) ? new Uint8Array(32) : body, options),
    get: (key, range) => inner.get(key, range),
    head: (key) => inner.head(key),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (keys) => inner.delete(keys),
  }
  await expect(forgetGenerations(lying, log, FEW)).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT' })
  expect(await generationsIn(inner)).toHaveLength(40)
  expect(log.timeline.forgotten).toBeUndefined()
})

test('no generation goes whose entries are in a node that does not read back', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await commit(log, 60)
  const node = (await keysIn(store)).findLast(isNodeKey) ?? ''
  const bytes = await store.get(node)
  await store.put(node, bytes.subarray(1))
  await expect(forgetGenerations(store, log, FEW)).rejects.toMatchObject({ details: { key: node } })
  expect(await generationsIn(store)).toHaveLength(60)
  await store.put(node, bytes)
  expect(await forgetGenerations(store, log, FEW)).toMatchObject({ generations: 50 })
})
