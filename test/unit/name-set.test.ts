import { expect, test } from 'vitest'
import { NameSet } from '../../src/engine/name-set.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { CountingStore } from '../support/stores.ts'

test('names of live writes that are more than fit into memory are kept in scratch space, and found', async () => {
  const store = new CountingStore(new MemoryStore())
  const set = new NameSet({ inMemory: 1000, scratch: () => store })
  const count = 12_300
  for (let i = 0; i < count; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, n) => set.add(`name ${i + n}`)))
  }
  expect(store.calls.put).toBeGreaterThan(5)
  // What is not put away is in memory.
  expect(store.bytesWritten).toBeGreaterThan((count - 2 * 1000) * 8)
  for (let i = 0; i < count; i += 7) expect(await set.has(`name ${i}`)).toBe(true)
  for (let i = 0; i < 500; i++) expect(await set.has(`another ${i}`)).toBe(false)
  // Of each part that is put away a page, not the whole.
  store.reset()
  await set.has('nobody')
  expect(store.bytesRead).toBeLessThanOrEqual(13 * 4096)
})

test('a set that could not be put away does not fail who adds, and is not taken for whole', async () => {
  const set = new NameSet({
    inMemory: 10,
    scratch: () => {
      throw new Error('no space left')
    },
  })
  for (let i = 0; i < 30; i++) await set.add(`name ${i}`)
  expect(await set.has('name 3')).toBe(true)
  expect(await set.has('name 29')).toBe(true)
  await expect(set.has('another')).rejects.toThrow('no space left')
})
