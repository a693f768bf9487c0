import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256 } from '../../src/base/bytes.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { applyChange } from '../../src/model/apply-change.ts'
import { type Event, NO_CONTEXT } from '../../src/model/event.ts'
import { EMPTY_TIMELINE, type StreamSegment } from '../../src/model/timeline.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { Segments } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ByteRange } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { ReadAhead } from '../../src/upkeep/verify/read-ahead.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { recordImage } from '../support/model-database.ts'
import { frames } from '../support/segments.ts'

const MIB = 1024 * 1024

interface File {
  readonly key: string
  readonly bytes: number
}

/** A store that says what is read of it, and how much of it is under way or waits to be asked for. */
class SlowStore {
  readonly asked: string[] = []
  readonly #sizes: ReadonlyMap<string, number>

  constructor(files: readonly File[]) {
    this.#sizes = new Map(files.map(({ key, bytes }) => [key, bytes]))
  }

  async get(key: string): Promise<Uint8Array> {
    this.asked.push(key)
    await setImmediate()
    if (!this.#sizes.has(key)) throw new Error(`${key} is not there`)
    return Buffer.from(key)
  }

  /** Those that were begun and not taken. */
  ahead(taken: ReadonlySet<string>): readonly number[] {
    return this.asked.filter((key) => !taken.has(key)).map((key) => this.#sizes.get(key) ?? 0)
  }
}

const file = fc.record({ bytes: fc.oneof(fc.nat(1000), fc.nat(6 * MIB), fc.constant(20 * MIB)) })

test('files that are expected are read once each, in order, some of them ahead, and as many as there is room for', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(file, { maxLength: 60 }), async (given) => {
      const files = given.map(({ bytes }, i) => ({ key: `file ${i}`, bytes }))
      const store = new SlowStore(files)
      const reads = new ReadAhead(store)
      reads.expect(files)
      const taken = new Set<string>()
      for (const { key } of files) {
        expect(Buffer.from(await reads.read(key)).toString()).toBe(key)
        taken.add(key)
        const ahead = store.ahead(taken)
        expect(ahead.length).toBeLessThanOrEqual(16)
        if (ahead.length > 1) expect(ahead.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(16 * MIB)
      }
      expect(store.asked).toEqual(files.map(({ key }) => key))
    }),
    { numRuns: 50 },
  )
})

test('small files are under way together', async () => {
  const files = Array.from({ length: 40 }, (_, i) => ({ key: `file ${i}`, bytes: 1000 }))
  const store = new SlowStore(files)
  const reads = new ReadAhead(store)
  reads.expect(files)
  await reads.read('file 0')
  expect(store.asked.length).toBeGreaterThan(12)
})

test('what is asked for besides is read too, and what was expected and is skipped holds up nothing', async () => {
  const files = Array.from({ length: 100 }, (_, i) => ({ key: `file ${i}`, bytes: MIB }))
  const store = new SlowStore([...files, { key: 'other', bytes: 1 }])
  const reads = new ReadAhead(store)
  reads.expect(files)
  for (const { key } of files.filter((_, i) => i % 3 === 0)) {
    expect(Buffer.from(await reads.read(key)).toString()).toBe(key)
    expect(Buffer.from(await reads.read('other')).toString()).toBe('other')
  }
  const once = store.asked.filter((key) => key !== 'other')
  expect(new Set(once).size).toBe(once.length)
})

test('a file that is missing is an error for whoever asks for it, and for nobody else', async () => {
  const reads = new ReadAhead(new SlowStore([{ key: 'there', bytes: 1 }]))
  reads.expect([
    { key: 'gone', bytes: 1 },
    { key: 'there', bytes: 1 },
    { key: 'gone too', bytes: 1 },
  ])
  await expect(reads.read('gone')).rejects.toThrow('gone is not there')
  expect(Buffer.from(await reads.read('there')).toString()).toBe('there')
  reads.expect([])
  await setImmediate()
})

/** Knows how many are under way. */
class WaitingStore extends MemoryStore {
  readonly read: string[] = []
  most = 0
  #under = 0

  override async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    this.read.push(key)
    this.most = Math.max(this.most, ++this.#under)
    await setImmediate()
    this.#under--
    return super.get(key, range)
  }
}

test('a verification has several segments under way, checks each event of them, and reads each once', async () => {
  const store = new WaitingStore()
  const ulids = new UlidGenerator(() => 1_790_000_000_000)
  const stream = ulids.next()
  const segments: StreamSegment[] = []
  for (let sequence = 1; sequence <= 40; sequence++) {
    const stamp = { ulid: ulids.next(), stream, sequence }
    const item = { kind: 'record', resource: 'r', id: String(sequence) } as const
    const after = recordImage({ id: item.id, sequence })
    const event: Event = { ...item, context: NO_CONTEXT, operation: 'insert', before: null, after, stamp }
    const previous = segments.at(-1)?.chain.value
    const { bytes, info } = encodeSegment(frames([event], 1), {
      stream,
      level: 0,
      ...(previous === undefined ? {} : { previous }),
    })
    segments.push({ ...info, key: segmentKey({ ...info, nonce: '00000000' }) })
    await store.put(segments.at(-1)?.key ?? '', bytes)
  }
  const timeline = applyChange(EMPTY_TIMELINE, { addSegments: segments })
  const verified = async () => {
    const sources = {
      store,
      segments: new Segments(store),
      snapshots: new Snapshots(store),
      nodes: segmentNodes(store),
    }
    return verifyStore({ ...sources, memory: 64 * MIB, scratch: () => new MemoryStore(), open: null }, timeline)
  }
  const { events, damage } = await verified()
  const keys = new Set(segments.map(({ key }) => key))
  expect(events).toBe(40)
  expect(damage.filter(({ key }) => keys.has(key))).toEqual([])
  expect(store.read.filter((key) => keys.has(key)).toSorted()).toEqual([...keys].toSorted())
  expect(store.most).toBeGreaterThan(8)
  // One that is missing, and one that is another, are what they are, and no other.
  const [missing, other] = [segments[20]?.key ?? '', segments[30]?.key ?? '']
  await store.delete([missing])
  await store.put(other, await store.get(segments[31]?.key ?? ''))
  const named = new Set((await verified()).damage.map(({ key }) => key).filter((key) => keys.has(key)))
  expect([...named].toSorted()).toEqual([missing, other].toSorted())
})

test('what the store lists as large is not under way with others, whatever is said of it elsewhere', async () => {
  const store = new WaitingStore()
  const [small, large] = [Buffer.alloc(1000, 1), Buffer.alloc(9 * MIB, 2)]
  await store.put('small', small)
  await store.put('large', large)
  const listed = new Map([small, large].map((body, i) => [i === 0 ? 'small' : 'large', body.length] as const))
  const inspection = new Inspection(
    store,
    () => {},
    () => {},
    listed,
  )
  inspection.expect(['small', 'large'])
  await inspection.expectHash('small', small.length, sha256(small))
  expect(store.read).toEqual(['small'])
  await inspection.expectHash('large', large.length, sha256(large))
  expect(store.read).toEqual(['small', 'large', 'large'])
})

test('files that are hashed by their listing are under way together, once each, and large ones in parts', async () => {
  const store = new WaitingStore()
  const sizes = [...Array.from({ length: 30 }, (_, i) => 1000 + i), 9 * MIB]
  const files = sizes.map((bytes, i) => ({ key: `file/${i}`, body: Buffer.alloc(bytes, i) }))
  for (const { key, body } of files) await store.put(key, body)
  const listed = new Map(files.map(({ key, body }) => [key, body.length]))
  const inspection = new Inspection(
    store,
    () => {},
    () => {},
    listed,
  )
  inspection.expect([...listed.keys(), 'unlisted'])
  for (const { key, body } of files) await inspection.expectHash(key, listed.get(key), sha256(body))
  expect(store.most).toBeGreaterThan(8)
  expect(store.read).toEqual([...files.map(({ key }) => key), 'file/30'])
  expect([inspection.files, inspection.bytes]).toEqual([31, sizes.reduce((a, b) => a + b)])
  await expect(inspection.expectHash('file/1', 1001, sha256(Buffer.from('other')))).rejects.toThrow('is damaged')
})
