import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, describe, expect, it } from 'vitest'
import type { StoreSpec, Tidemark } from '../../src/index.ts'
import { Tidemark as Engine } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { type FlakyProxy, flakyProxy } from '../support/flaky-proxy.ts'
import { s3ForTests } from '../support/s3.ts'
import { s3dbOnS3 } from '../support/s3db-on-s3.ts'

const server = s3ForTests()
const directory = mkdtempSync(join(tmpdir(), 's3-store-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.skipIf(server === null)('a store on an S3 server', () => {
  if (server === null) return

  async function place(): Promise<{ spec: StoreSpec; proxy: FlakyProxy; dispose: () => Promise<void> }> {
    if (server === null) throw new Error('no server')
    const { options, dispose } = await server.fresh()
    const proxy = await flakyProxy(server.endpoint, () => null)
    const url = `s3://${options.bucket}/${options.prefix}`
    const spec = { url, endpoint: proxy.endpoint, region: 'us-east-1', credentials: server.credentials }
    return { spec, proxy, dispose }
  }

  it.each(['journal', 'store'] as const)(
    'takes what is captured with ack %s, gives it back, and is asked nothing when idle',
    async (ack) => {
      const { spec, proxy, dispose } = await place()
      const db = new S3db({ connectionString: `memory://s3-store-${process.pid}-${ack}`, logLevel: 'silent' })
      await db.connect()
      const tidemark = new TidemarkPlugin({ store: spec, journal: join(directory, ack), ack, seal: { ageMs: 200 } })
      await db.usePlugin(tidemark)
      const attributes = { id: 'string|optional', n: 'number', text: 'string|optional' }
      const notes = await db.createResource({ name: 'notes', attributes, behavior: 'body-overflow' })
      for (let n = 0; n < 20; n++) await notes.insert({ id: `n${n}`, n, text: 'ünïcode '.repeat(n) })
      await tidemark.flush()
      const moment = new Date()
      const before = new Map((await notes.list()).map((record) => [record.id, record.n]))
      await pause(5)
      await notes.deleteMany(['n3', 'n4'])
      await notes.update('n5', { n: 500 })
      await tidemark.flush()

      await pause(600)
      const idle = proxy.seen.length
      await pause(1500)
      expect(proxy.seen.slice(idle)).toEqual([])

      await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
      expect(new Map((await notes.list()).map((record) => [record.id, record.n]))).toEqual(before)
      await tidemark.snapshot()
      expect((await tidemark.verify()).damage).toEqual([])
      await db.disconnect()

      const reader: Tidemark = await Engine.open({ store: spec })
      expect(await reader.at('latest').count('notes')).toBe(20)
      expect((await reader.status()).streams.map(({ state }) => state)).toEqual(['closed'])
      await reader.close()
      proxy.close()
      await dispose()
    },
  )

  it('captures a database of s3db.js on the same server, and brings it back there', async () => {
    const { spec, proxy, dispose } = await place()
    const { open } = await s3dbOnS3(server)
    const db = open()
    await db.connect()
    const tidemark = new TidemarkPlugin({ store: spec, journal: join(directory, 's3db'), seal: { ageMs: 300 } })
    await db.usePlugin(tidemark)
    const attributes = { id: 'string|optional', name: 'string', age: 'number|optional', pin: 'secret|optional' }
    const users = await db.createResource({ name: 'users', attributes, behavior: 'body-only', timestamps: true })
    await users.insertMany([1, 2, 3, 4].map((n) => ({ id: `u${n}`, name: `Ann ${n}`, age: n, pin: `000${n}` })))
    await users.setContent({ id: 'u4', buffer: Buffer.from([0, 255, 1, 2]), contentType: 'image/png' })
    await tidemark.flush()
    const before = await Promise.all(['u1', 'u2', 'u3'].map((id) => users.get(id)))
    await pause(5)
    const moment = new Date()
    await pause(5)
    await users.update('u1', { name: 'changed' })
    await users.delete('u2')
    await users.deleteContent('u4')
    const plan = await tidemark.restoreAt(moment, { target: 'live', dryRun: true })
    expect({ added: plan.preview.added, changed: plan.preview.changed, removed: plan.preview.removed }).toEqual({
      added: 1,
      changed: 2,
      removed: 0,
    })
    await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
    const volatile = ({ _lastModified, ...record }: Record<string, unknown>): Record<string, unknown> => record
    const after = await Promise.all(['u1', 'u2', 'u3'].map((id) => users.get(id)))
    expect(after.map(volatile)).toEqual(before.map(volatile))
    const { buffer } = await users.content('u4')
    expect([...(buffer ?? [])]).toEqual([0, 255, 1, 2])
    const history = []
    for await (const { operation, context } of tidemark.history('users', 'u2')) history.push([operation, context.actor])
    expect(history).toEqual([
      ['insert', null],
      ['delete', null],
      ['insert', 'tidemark'],
    ])
    await db.disconnect()
    proxy.close()
    await dispose()
  })
})
