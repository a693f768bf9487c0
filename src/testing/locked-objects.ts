import assert from 'node:assert/strict'
import { utf8 } from '../base/bytes.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { refusalsIn } from '../store/refusals.ts'
import { type Checks, type ContractCase, casesOf } from './contract-case.ts'
import type { StoreUnderTest } from './object-store.ts'
import { keysOf } from './objects.ts'

/** A store that can be made to refuse the deletion of an object, by a lock or by its rights. */
export interface LockableStore extends StoreUnderTest {
  /** From now on the store does not let these objects go. */
  lock(keys: readonly string[]): Promise<void>
}

/** What an `ObjectStore` must do that may refuse to delete an object; `make` gives a new store for each case. */
export function lockedObjectsContract(make: () => Promise<LockableStore>): readonly ContractCase[] {
  return casesOf(lockChecks, async (run) => {
    const made = await make()
    try {
      await run(made)
    } finally {
      await made.dispose()
    }
  })
}

/** Keys that a deletion has named as refused, in order; null where it was not refused. */
async function refusedBy(store: ObjectStore, keys: readonly string[]): Promise<readonly string[] | null> {
  try {
    await store.delete(keys)
    return null
  } catch (error) {
    const refused = refusalsIn(error)
    assert.ok(refused !== null, `an error that names nothing: ${error}`)
    for (const { message, until } of refused) {
      assert.ok(message.length > 5, 'what the store said')
      assert.ok(until === null || until === 'held' || !Number.isNaN(Date.parse(until)), `until ${until}`)
    }
    return refused.map(({ key }) => key).sort()
  }
}

const lockChecks: Checks<LockableStore> = {
  'deletes everything but what is locked, and names that': async ({ store, lock }) => {
    const keys = ['a/1', 'a/2', 'b', 'c/%+ ü', 'd']
    for (const key of keys) await store.put(key, utf8(key))
    await lock(['a/2', 'c/%+ ü'])
    assert.deepEqual(await refusedBy(store, ['missing', ...keys, 'a/2']), ['a/2', 'c/%+ ü'])
    assert.deepEqual(await keysOf(store.list('')), ['a/2', 'c/%+ ü'])
    assert.equal(Buffer.from(await store.get('a/2')).toString(), 'a/2')
    // As often as it is tried.
    assert.deepEqual(await refusedBy(store, ['a/2']), ['a/2'])
    await store.put('e', utf8('e'))
    assert.equal(await refusedBy(store, ['e']), null)
  },

  'names what is locked among more keys than one request takes': async ({ store, lock }) => {
    const keys = Array.from({ length: 1100 }, (_, i) => `many/${String(i).padStart(4, '0')}`)
    for (let at = 0; at < keys.length; at += 50)
      await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, utf8(key))))
    const locked = ['many/0003', 'many/1099']
    await lock(locked)
    assert.deepEqual(await refusedBy(store, keys), locked)
    assert.deepEqual(await keysOf(store.list('')), locked)
  },
}
