import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TidemarkError } from '../../../src/base/errors.ts'
import { FilesystemStore } from '../../../src/store/filesystem.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { ObjectStore } from '../../../src/store/object-store.ts'
import { ownStore } from '../../../src/store/own-store.ts'
import { targetStore } from '../../../src/store/target-store.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'translated-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const away = new TidemarkError('STORE_UNAVAILABLE', 'The store that is read is away.', { hint: 'Wait.' })

const MADE: readonly (readonly [string, () => ObjectStore])[] = [
  ['a target', () => targetStore(new FilesystemStore(home), home)],
  ['a store of somebody', () => ownStore(new MemoryStore(), 'own://store')],
]

test.each(MADE)(
  'a store that fails while %s is written from it is not told as a failure of what is written',
  async (_, make) => {
    for (const error of [away, new Error('a program went wrong')]) {
      const body = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('begun')
        throw error
      }
      const store = make()
      await expect(store.put('a', body())).rejects.toBe(error)
      expect(await store.head('a')).toBe(null)
    }
  },
)

test('every call of a store of somebody tells what it throws as a store that is away, where it is no error of ours', async () => {
  const fails = (): never => {
    throw new Error('ECONNRESET')
  }
  const list = async function* (): AsyncGenerator<never> {
    yield* [] as never[]
    fails()
  }
  const store = ownStore({ put: fails, get: fails, head: fails, list, delete: fails }, 'own://store')
  const listed = async (): Promise<void> => {
    for await (const _ of store.list('')) fails()
  }
  const stream = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('x')
  }
  for (const call of [
    () => store.put('a', Buffer.from('x')),
    () => store.put('a', stream()),
    () => store.get('a'),
    () => store.head('a'),
    listed,
    () => store.delete(['a']),
  ]) {
    await expect(call()).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('ECONNRESET'),
    })
  }
})
