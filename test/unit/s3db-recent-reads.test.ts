import { MemoryClient } from 's3db.js/lite'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Sink, Write } from '../../src/capture/source.ts'
import type { Context, Image, Item } from '../../src/model/event.ts'
import type { StorageClient } from '../../src/s3db/client.ts'
import { createSource } from '../../src/s3db/source.ts'
import { headerStore } from '../support/header-store.ts'
import { newDatabase } from '../support/s3db.ts'

const KEY = 'resource=r/data/id=a'

/** Captures one write after another and tells each what it knows, as the recorder does. */
class KnowingSink implements Sink {
  readonly #known = new Map<string, Image | null>()
  /** The body that each write found. */
  readonly found: (string | null)[] = []
  isAlone = true

  async capture<T>(items: readonly Item[], _: Context, write: Write<T>): Promise<T> {
    const known = this.isAlone ? items.map(({ id }) => this.#known.get(id)) : undefined
    const before = await write.read(known)
    for (const image of before) this.found.push(bodyOf(image))
    const result = await write.perform()
    for (const [i, image] of write.after(before, result).entries()) this.#known.set(items[i]?.id ?? '', image)
    return result
  }
}

function bodyOf(image: Image | null): string | null {
  return image === null ? null : (JSON.parse(Buffer.from(image.json).toString())._raw?.metadata['0'] ?? null)
}

interface Rig {
  readonly client: StorageClient
  /** The same objects, past the capture. */
  readonly foreign: StorageClient
  readonly sink: KnowingSink
  /** Reads that reached the database. */
  readonly reads: { count: number; wait: Promise<void> | null }
}

let bucket = 0

/** A client of s3db.js: the types that it declares have private members that no type of ours can have. */
function clientFrom(kind: new (options: never) => object, options: object): StorageClient {
  return Reflect.construct(kind, [options])
}

function rig(): Rig {
  const open = (): StorageClient => clientFrom(MemoryClient, { bucket: `recent-${bucket}`, logLevel: 'silent' })
  bucket++
  const [client, foreign] = [open(), open()]
  const reads: Rig['reads'] = { count: 0, wait: null }
  const { getObject } = client
  client.getObject = async (key) => {
    reads.count++
    const answer = await Reflect.apply(getObject, client, [key])
    await reads.wait
    return answer
  }
  const sink = new KnowingSink()
  createSource({ client, resources: {}, savedMetadata: null }).attach(sink)
  return { client, foreign, sink, reads }
}

const put = (client: StorageClient, value: string, body = ''): Promise<object> =>
  client.putObject({ key: KEY, metadata: { 0: value }, body })

async function readWhole(client: StorageClient, key = KEY): Promise<void> {
  const { ContentLength, Body } = await client.getObject(key)
  if (ContentLength !== 0) await Body?.transformToByteArray?.()
}

afterEach(() => {
  vi.useRealTimers()
})

describe('the state before a write that the application has just read', () => {
  it.each(['', 'with a body'])('is not read again, body "%s"', async (body) => {
    const { client, sink, reads } = rig()
    await put(client, 'v0', body)
    reads.count = 0
    await readWhole(client)
    await put(client, 'v1', body)
    expect([reads.count, sink.found]).toEqual([1, [null, 'v0']])
    await put(client, 'v2', body) // it counts once
    expect([reads.count, sink.found.at(-1)]).toEqual([2, 'v1'])
    await readWhole(client)
    await client.deleteObject(KEY)
    expect([reads.count, sink.found.at(-1)]).toEqual([3, 'v2'])
  })

  it('is read where it is not what was known, where others write, and where the body was not read', async () => {
    const { client, foreign, sink, reads } = rig()
    await put(client, 'v0', 'body')
    await put(foreign, 'foreign', 'body')
    await readWhole(client)
    await put(client, 'v1', 'body')
    expect(sink.found.at(-1)).toBe('foreign')
    reads.count = 0
    await client.getObject(KEY)
    await put(client, 'v2', 'body')
    expect(reads.count).toBe(2)
    sink.isAlone = false
    await readWhole(client)
    await put(client, 'v3', 'body')
    expect(reads.count).toBe(4)
  })

  it('is read where the application read it before the last captured write', async () => {
    const { client, foreign, sink } = rig()
    await put(client, 'v0')
    await readWhole(client)
    sink.isAlone = false
    await put(client, 'v1')
    await put(client, 'v0')
    sink.isAlone = true
    await put(foreign, 'foreign')
    await put(client, 'v2')
    expect(sink.found.at(-1)).toBe('foreign')
  })

  it('is read where the read of the application was under way during the last captured write', async () => {
    const { client, foreign, sink, reads } = rig()
    await put(client, 'v0')
    const { promise, resolve } = Promise.withResolvers<void>()
    reads.wait = promise
    const reading = readWhole(client)
    await new Promise((done) => setImmediate(done)) // it has the answer, and has not given it
    reads.wait = null
    await put(client, 'v1')
    await put(client, 'v0')
    resolve()
    await reading
    await put(foreign, 'foreign')
    await put(client, 'v2')
    expect(sink.found.at(-1)).toBe('foreign')
  })

  it('is read where the application read it longer ago', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    const { client, reads } = rig()
    await put(client, 'v0')
    await readWhole(client)
    vi.advanceTimersByTime(1001)
    reads.count = 0
    await put(client, 'v1')
    expect(reads.count).toBe(1)
  })

  it('is read again where more was read since than is remembered', async () => {
    const { client, reads } = rig()
    const body = 'x'.repeat(3 * 1024 * 1024)
    await put(client, 'v0', body)
    for (const id of ['b', 'c']) await client.putObject({ key: `resource=r/data/id=${id}`, body })
    for (const id of ['a', 'b', 'c']) await readWhole(client, `resource=r/data/id=${id}`)
    reads.count = 0
    await client.deleteObject('resource=r/data/id=c')
    expect(reads.count).toBe(0)
    await put(client, 'v1', body)
    expect(reads.count).toBe(1)
  })
})

it.each(['memory', 'file'] as const)('an update and a deletion read a record once, %s', async (kind) => {
  const { db } = await newDatabase(kind)
  const records = await db.createResource({ name: 'records', attributes: { name: 'string' }, behavior: 'body-only' })
  let reads = 0
  const { getObject } = db.client
  db.client.getObject = (key) => {
    reads++
    return Reflect.apply(getObject, db.client, [key])
  }
  const counted = async (): Promise<number[]> => {
    const counts: number[] = []
    for (const work of [() => records.update('a', { name: 'y' }), () => records.delete('a')]) {
      reads = 0
      await work()
      counts.push(reads)
    }
    return counts
  }
  await records.insert({ id: 'a', name: 'x' })
  const bare = await counted()
  createSource(db).attach(new KnowingSink())
  await records.insert({ id: 'a', name: 'x' })
  expect(await counted()).toEqual(bare)
})

it('an object behind HTTP is read once', async () => {
  const store = await headerStore()
  const sink = new KnowingSink()
  createSource({ client: store.client, resources: {}, savedMetadata: null }).attach(sink)
  await put(store.client, 'v0', 'body')
  const before = store.requests.GET ?? 0
  await readWhole(store.client)
  await put(store.client, 'v1', 'body')
  expect([store.requests.GET, sink.found]).toEqual([before + 1, [null, 'v0']])
  store.close()
})
