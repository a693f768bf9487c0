import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { Body, PutOptions } from '../../src/store/object-store.ts'
import { memoryLogger } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** Takes no segments while it is full. */
class FullStore extends MemoryStore {
  isFull = false

  override async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (this.isFull && key.startsWith('segment/')) throw new TidemarkError('STORE_DENIED', 'It is full.', { hint: '' })
    return super.put(key, body, options)
  }
}

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'asked-leftover-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

test('who is asked for what it has taken over answers when that is closed, and does not wait for its own answer', async () => {
  const objects = new FullStore()
  const store = { url: 'own://store', objects }
  const capture = (database: ModelDatabase): Promise<Tidemark> => {
    const options = { store, journal: join(home, 'journal'), source: database, seal: { ageMs: 600_000 } }
    return Tidemark.capture({ ...options, logger: memoryLogger([]) })
  }
  // Two processes end without the store: who comes next goes on with the stream of one, and takes over the other.
  const databases = [new ModelDatabase(), new ModelDatabase()]
  const ended: Tidemark[] = []
  for (const database of databases) ended.push(await capture(database))
  for (const tidemark of ended) await tidemark.reachable('latest')
  objects.isFull = true
  for (const [n, database] of databases.entries())
    await database.write({ kind: 'record', resource: 'r', id: `a${n}` }, recordImage({ n }))
  for (const tidemark of ended) await expect(tidemark.close()).rejects.toMatchObject({ code: 'STORE_DENIED' })
  const next = await capture(new ModelDatabase())
  const reader = await Tidemark.open({ store, logger: memoryLogger([]) })
  const states = async (): Promise<string[]> => (await reader.status()).streams.map(({ state }) => state).sort()
  expect(await states()).toEqual(['open', 'open'])
  objects.isFull = false
  for (const n of [0, 1]) expect(await reader.at('latest').get('r', `a${n}`)).toEqual({ n })
  expect(await states()).toEqual(['closed', 'open'])
  await next.close()
  expect(await states()).toEqual(['closed', 'closed'])
  await reader.close()
})
