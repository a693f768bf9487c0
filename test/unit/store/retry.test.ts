import { expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { TidemarkError } from '../../../src/base/errors.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { ObjectStore } from '../../../src/store/object-store.ts'
import { withRetry } from '../../../src/store/retry.ts'
import { fails, keysOf, streamOf } from '../../../src/testing/objects.ts'
import { CountingStore, type FaultScript, FaultyStore } from '../../support/stores.ts'

interface Bench {
  readonly memory: MemoryStore
  readonly counted: CountingStore
  readonly store: ObjectStore
  readonly slept: number[]
}

function bench(script: FaultScript, options: { attempts?: number; baseMs?: number; capMs?: number } = {}): Bench {
  const slept: number[] = []
  const clock: Clock = {
    now: () => 0,
    idle: () => Promise.resolve(),
    sleep: async (ms) => {
      slept.push(ms)
    },
  }
  const memory = new MemoryStore()
  const counted = new CountingStore(new FaultyStore(memory, script))
  return { memory, counted, slept, store: withRetry(counted, { clock, random: () => 0.5, ...options }) }
}

test('tries again, waiting longer each time, up to the cap', async () => {
  const { store, slept, counted } = bench((_, __, call) => (call <= 5 ? 'before' : null), {
    attempts: 6,
    baseMs: 100,
    capMs: 700,
  })
  await store.put('k', utf8('x'))
  expect(slept).toEqual([50, 100, 200, 350, 350])
  expect(counted.calls.put).toBe(6)
})

test('gives up after the attempts, and says how many', async () => {
  const { store, counted } = bench(() => 'before', { attempts: 3 })
  const error = await store.get('k').catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    details: { attempts: 3 },
    message: expect.stringContaining('3 attempts'),
  })
  expect(counted.calls.get).toBe(3)
})

test('has five attempts of its own', async () => {
  const { store, counted, slept } = bench(() => 'before')
  expect(await fails(store.head('k'))).toBe('STORE_UNAVAILABLE')
  expect(counted.calls.head).toBe(5)
  expect(slept).toEqual([50, 100, 200, 400])
})

test('repeats nothing that would fail again', async () => {
  const denied = new TidemarkError('STORE_DENIED', 'no', { hint: 'ask' })
  for (const error of [denied, new TypeError('bug')]) {
    const { store, counted } = bench(() => error)
    await expect(store.put('k', utf8('x'))).rejects.toBe(error)
    await expect(store.delete(['k'])).rejects.toBe(error)
    expect(counted.calls).toMatchObject({ put: 1, delete: 1 })
  }
})

test('knows its own conditional put whose answer was lost', async () => {
  const { store, memory } = bench((verb, _, call) => (verb === 'put' && call === 1 ? 'after' : null))
  await store.put('k', utf8('mine'), { ifAbsent: true })
  expect(Buffer.from(await memory.get('k')).toString()).toBe('mine')
})

test('does not take the object of another for its own', async () => {
  const { store, memory } = bench((verb, _, call) => (verb === 'put' && call === 1 ? 'before' : null))
  await memory.put('k', utf8('theirs'))
  expect(await fails(store.put('k', utf8('mine!!'), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
  expect(Buffer.from(await memory.get('k')).toString()).toBe('theirs')
})

test('does not compare where the first answer says that the object exists', async () => {
  const { store, memory, counted } = bench(() => null)
  await memory.put('k', utf8('same'))
  expect(await fails(store.put('k', utf8('same'), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
  expect(counted.calls.get).toBe(0)
})

test('compares again where the comparison itself fails', async () => {
  const { store } = bench((verb, _, call) =>
    verb === 'put' ? (call === 1 ? 'after' : null) : call === 1 ? 'before' : null,
  )
  await store.put('k', utf8('mine'), { ifAbsent: true })
})

test('repeats the put of a stream only while nothing was taken from it', async () => {
  const early = bench((_, __, call) => (call === 1 ? 'before' : null))
  await early.store.put('k', streamOf([utf8('a'), utf8('b')]))
  expect(Buffer.from(await early.memory.get('k')).toString()).toBe('ab')

  const late = bench((_, __, call) => (call === 1 ? 'after' : null))
  expect(await fails(late.store.put('k', streamOf([utf8('a'), utf8('b')])))).toBe('STORE_UNAVAILABLE')
  expect(late.counted.calls.put).toBe(1)
})

test('goes on with a listing that broke off, giving each key once', async () => {
  const { store, memory, counted } = bench((_, __, call) => (call <= 3 ? 'after' : null))
  const keys = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const key of keys) await memory.put(`p/${key}`, utf8(key))
  expect(await keysOf(store.list('p/', { startAfter: 'p/a' }))).toEqual(['p/b', 'p/c', 'p/d', 'p/e', 'p/f'])
  expect(counted.calls.list).toBe(4)
})
