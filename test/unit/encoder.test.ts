import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { SegmentEncoder } from '../../src/capture/encoder.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { type Change, NO_CONTEXT } from '../../src/model/event.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { memoryLogger } from '../support/capture-rig.ts'
import { recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'encoder-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const ulids = new UlidGenerator(() => 1e12)
const stream = ulids.next()

function region(sequence: number): Uint8Array {
  const change: Change = {
    ...{ kind: 'record', resource: 'r', id: `i${sequence}`, context: NO_CONTEXT, operation: 'insert' },
    before: null,
    after: recordImage({ n: sequence }),
  }
  const bytes = Buffer.alloc(encodedEventBytes(change))
  encodeEvent(bytes, 0, change, ulids.next(), sequence)
  return bytes
}

const encoded = async (encoder: SegmentEncoder): Promise<number> =>
  (await encoder.encode(stream, chainStart(stream), [region(1), region(2)])).info.events

/** A file with a worker that does this. */
function workerThat(name: string, does: string): URL {
  const path = join(home, `${name}.mjs`)
  writeFileSync(path, `import { parentPort } from 'node:worker_threads'\n${does}`)
  return pathToFileURL(path)
}

test('a worker that is not there is told of once, and segments are encoded all the same, in small pieces', async () => {
  for (const file of [
    pathToFileURL(join(home, 'not-there.mjs')),
    null,
    workerThat('throws', 'throw new Error("no")'),
  ]) {
    const logged: string[] = []
    const encoder = new SegmentEncoder(null, memoryLogger(logged), file)
    expect(encoder.mostBytes).toBe(Number.POSITIVE_INFINITY)
    await encoder.prove()
    expect(encoder.mostBytes).toBeLessThan(4e6)
    expect([await encoded(encoder), await encoded(encoder)]).toEqual([2, 2])
    expect(logged.join('')).toContain('could not be started')
    expect(logged).toHaveLength(1)
    await encoder.close()
  }
})

test('a worker that ends again and again is given up, and the events are encoded without it', async () => {
  const logged: string[] = []
  const dies = workerThat('dies', 'parentPort.postMessage({ id: 0 }); parentPort.on("message", () => process.exit(1))')
  const encoder = new SegmentEncoder(null, memoryLogger(logged), dies)
  for (let i = 0; i < 3; i++) await expect(encoded(encoder)).rejects.toThrow('ended')
  expect(await encoded(encoder)).toBe(2)
  expect(logged.join('')).toContain('ended again and again')
})

test('a worker whose turn is over takes nothing from the next one', async () => {
  const logged: string[] = []
  const encoder = new SegmentEncoder(null, memoryLogger(logged))
  for (let i = 0; i < 3; i++) {
    expect(await encoded(encoder)).toBe(2)
    const over = encoder.close()
    expect(await encoded(encoder)).toBe(2)
    await over
  }
  await encoder.close()
  expect(logged).toEqual([])
})

test('an application that was bundled without the worker has everything in its store', async () => {
  const root = join(import.meta.dirname, '..', '..')
  const app = join(home, 'app')
  cpSync(join(root, 'src'), join(app, 'src'), {
    recursive: true,
    filter: (path) => !path.endsWith('encode-worker.ts'),
  })
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  writeFileSync(join(app, 'package.json'), '{"type":"module"}')
  writeFileSync(
    join(app, 'app.ts'),
    `import { S3db } from 's3db.js'
import { TidemarkPlugin } from './src/s3db/plugin.ts'
const db = new S3db({ connectionString: 'memory://bundled', loggerOptions: { level: 'silent' } })
await db.connect()
await db.usePlugin(new TidemarkPlugin({ store: 'file:./store', journal: './journal' }))
const users = await db.createResource({ name: 'users', attributes: { id: 'string|optional', n: 'number' } })
for (let n = 0; n < 50; n++) await users.insert({ id: 'u' + n, n })
await db.disconnect()
process.exit(0)
`,
  )
  const { stderr } = await promisify(execFile)(process.execPath, ['app.ts'], { cwd: app })
  expect(stderr).toContain('encoded in the thread of the application')
  const tidemark = await Tidemark.open({ store: `file:${join(app, 'store')}` })
  expect(await tidemark.at('latest').count('users')).toBe(50)
  await tidemark.close()
})
