import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Item } from '../../src/model/event.ts'
import { DATABASE, itemOfKey, type KeySpace, keyOfItem } from '../../src/s3db/keys.ts'

const word = fc.oneof(
  fc.constantFrom(
    'log',
    'logs',
    'a:b',
    '漢',
    '%',
    'x y',
    'id',
    'data',
    'partition',
    'sequence',
    '__proto__',
    '.',
    '..',
  ),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }),
)
/** What s3db.js accepts as a resource name or an id. */
const legal = word.map((text) => text.replace(/[\\/=%]/g, '_'))
/** What another writer might have used. */
const wild = fc
  .array(fc.oneof(word, fc.constantFrom('/', '/data/id=', '/sequence=', '/value', 'data/id=', '/partition=')), {
    minLength: 1,
    maxLength: 6,
  })
  .map((parts) => parts.join(''))

function space(names: readonly string[], pluginStorage = false): KeySpace {
  return { names: () => names, pluginStorage }
}

describe('keys of s3db.js', () => {
  it('come back to the item that made them, for all names and ids that s3db.js accepts', () => {
    fc.assert(
      fc.property(fc.array(legal, { maxLength: 4 }), legal, legal, fc.boolean(), (others, resource, id, isRecord) => {
        const item: Item = isRecord
          ? { kind: 'record', resource, id }
          : { kind: 'object', resource, id: `sequence=${id}/value` }
        expect(itemOfKey(keyOfItem(item), space([...others, resource]))).toEqual(item)
        expect(itemOfKey(keyOfItem(item), space(others))).toEqual(item)
      }),
    )
  })

  it('come back with any id and name, where the name is the longest known one that fits', () => {
    fc.assert(
      fc.property(wild, wild, (resource, id) => {
        const item: Item = { kind: 'record', resource, id }
        const found = itemOfKey(keyOfItem(item), space([resource, 'other']))
        expect(found === null ? null : keyOfItem(found)).toEqual(keyOfItem(item))
        expect(found).toEqual(item)
      }),
    )
  })

  it('name the same object, whatever they are read as', () => {
    fc.assert(
      fc.property(wild, fc.array(wild, { maxLength: 3 }), fc.boolean(), (rest, names, plugin) => {
        for (const key of [`resource=${rest}`, rest, `plugin=${rest}`]) {
          const item = itemOfKey(key, space(names, plugin))
          if (item !== null) expect(keyOfItem(item)).toBe(key)
        }
      }),
    )
  })

  it('of partition references, locks and history are no items, whatever the values say', () => {
    fc.assert(
      fc.property(legal, wild, legal, fc.boolean(), (resource, value, id, known) => {
        const keys = [
          `resource=${resource}/partition=by/st=${value}/id=${id}`,
          `resource=${resource}/historical/id=${id}`,
          `resource=${resource}/sequence=${id}/lock`,
        ]
        for (const key of keys) expect(itemOfKey(key, space(known ? [resource] : [], true))).toBeNull()
      }),
    )
  })

  it('of plugin storage are items only when asked for, and of its locks never', () => {
    const keys = ['plugin=cache/a/b', 'resource=r/plugin=ttl/x', 'plugin=q/sequence=s/value']
    const locks = [
      'plugin=s3db-core/locks/namespace=metadata/s3db-metadata.json',
      'plugin=q/sequence=s/lock',
      'resource=r/plugin=ttl/locks/x',
    ]
    for (const key of [...keys, ...locks]) expect(itemOfKey(key, space(['r']))).toBeNull()
    for (const key of locks) expect(itemOfKey(key, space(['r'], true))).toBeNull()
    expect(keys.map((key) => itemOfKey(key, space(['r'], true)))).toEqual([
      { kind: 'object', resource: '', id: 'plugin=cache/a/b' },
      { kind: 'object', resource: 'r', id: 'plugin=ttl/x' },
      { kind: 'object', resource: '', id: 'plugin=q/sequence=s/value' },
    ])
  })

  it('has the database behind s3db.json', () => {
    expect(itemOfKey('s3db.json', space([]))).toBe(DATABASE)
    expect(keyOfItem({ kind: 'schema', resource: 'any', id: '' })).toBe('s3db.json')
  })
})
