import { expect, test } from 'vitest'
import { TidemarkError } from '../../../src/base/errors.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { deleteAllowed, deletionRefused } from '../../../src/store/refusals.ts'
import { keysOf } from '../../../src/testing/objects.ts'

/** Refuses a whole call where one key is locked, and does not say which: a store of somebody's own may be so. */
class SilentStore extends MemoryStore {
  calls = 0
  failing: TidemarkError | null = null

  override async delete(keys: readonly string[]): Promise<void> {
    this.calls++
    if (this.failing !== null) throw this.failing
    if (keys.includes('locked')) throw new TidemarkError('STORE_DENIED', 'Forbidden here.', { hint: 'Ask.' })
    await super.delete(keys)
  }
}

test('where a store does not say which keys it refused, each is deleted by itself', async () => {
  const store = new SilentStore()
  for (const key of ['a', 'locked', 'z']) await store.put(key, Buffer.from(key))
  expect(await deleteAllowed(store, ['a', 'locked', 'z', 'a'])).toEqual([
    { key: 'locked', message: 'Forbidden here.', until: null },
  ])
  expect(await keysOf(store.list(''))).toEqual(['locked'])
  expect(store.calls).toBe(4)
  store.calls = 0
  expect(await deleteAllowed(store, ['b'])).toEqual([])
  expect(store.calls).toBe(1)
})

test('what keeps a store from answering is no refusal', async () => {
  const store = new SilentStore()
  store.failing = new TidemarkError('STORE_UNAVAILABLE', 'away', { hint: 'wait' })
  await expect(deleteAllowed(store, ['a', 'b'])).rejects.toBe(store.failing)
  expect(store.calls).toBe(1)
})

test('the error names a few with the ends of their locks, and has all', () => {
  const refused = ['a', 'b', 'c', 'd', 'e'].map((key, i) => {
    return { key, message: 'AccessDenied: no', until: [null, 'held', '2031-01-01T00:00:00.000Z'][i] ?? null }
  })
  const { code, message, details } = deletionRefused(refused)
  expect([code, details]).toEqual(['STORE_DENIED', { refused }])
  expect(message).toBe(
    "'a', 'b' (under a legal hold), 'c' (locked until 2031-01-01T00:00:00.000Z) and 2 more cannot be deleted, and stay as they are: AccessDenied: no",
  )
})
