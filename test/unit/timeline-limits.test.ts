import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { TimelineLog } from '../../src/capture/timeline-log.ts'
import { readableJson } from '../../src/format/bounded-json.ts'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { decodeManifest, encodeManifest } from '../../src/format/manifest.ts'
import { Keyring } from '../../src/format/record-keys/keyring.ts'
import { sealEvents } from '../../src/format/record-keys/seal-events.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { decodeHead, EMPTY_HEAD, encodeNextGeneration } from '../../src/format/timeline-codec.ts'
import { type Change, NO_CONTEXT } from '../../src/model/event.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemberFile } from '../../src/restore/members.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'

const STREAM = firstUlidAt(1_760_000_000_000)
const before = { ...LIMITS }
const limits: { -readonly [limit in keyof typeof LIMITS]: number } = LIMITS
const { jsonDepth } = LIMITS

afterEach(() => {
  Object.assign(limits, before)
})

function segment(i: number): SegmentEntry {
  const digits = (n: number): string => String(n).padStart(16, '0')
  const [first, last] = [i * 10 + 1, i * 10 + 10]
  return {
    key: `segment/${STREAM}/00/${digits(first)}-${digits(last)}-0123abcd.parquet`,
    ...{ level: 0, stream: STREAM, firstSequence: first, lastSequence: last, events: 10, bytes: 3000 },
    ...{ firstUlid: firstUlidAt(1_760_000_000_000 + first), lastUlid: firstUlidAt(1_760_000_000_000 + last) },
    sha256: 'a'.repeat(64),
    footer: { bytes: 900, crc32: 7 },
    chain: { previous: 'b'.repeat(64), value: 'c'.repeat(64) },
  }
}

function segments(count: number, from = 0): SegmentEntry[] {
  return Array.from({ length: count }, (_, i) => segment(from + i))
}

/** What was read of a store since the last look, by key. */
function recording(store: ObjectStore): { readonly store: ObjectStore; readonly read: string[] } {
  const read: string[] = []
  return {
    read,
    store: {
      put: (key, body, options) => store.put(key, body, options),
      get: (key, range) => {
        read.push(key)
        return store.get(key, range)
      },
      head: (key) => store.head(key),
      list: (prefix, options) => store.list(prefix, options),
      delete: (keys) => store.delete(keys),
    },
  }
}

test('a checkpoint that no reader would take is not committed, and what is there stays readable', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ addSegments: segments(50) }))
  limits.jsonBytes = 30_000
  let commits = 0
  const commit = async (): Promise<void> => {
    for (let i = 50; ; i++, commits++) await log.commit(() => ({ addSegments: [segment(i)] }))
  }
  await expect(commit()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  const again = await TimelineLog.open(store)
  expect(again.timeline).toEqual(log.timeline)
  expect(again.timeline.segments.length).toBe(50 + commits)
  expect(commits).toBeGreaterThan(10)
})

test('a file that is nested deeper than any reader takes is not written', () => {
  const nested = (depth: number): Uint8Array => Buffer.from('['.repeat(depth) + ']'.repeat(depth))
  expect(readableJson(nested(jsonDepth), 'It').length).toBe(2 * jsonDepth)
  expect(() => readableJson(nested(jsonDepth + 1), 'It')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
})

test('a record that no reader could inflate again is not written into a snapshot', async () => {
  limits.memberBytes = 600_000
  const file = new MemberFile()
  await file.add('a', [Buffer.alloc(500_000)])
  await expect(file.add('b', [Buffer.alloc(200_000)])).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  file.abandon()
})

test('a refresh reads what is new, and not the checkpoint that it has', async () => {
  const { store, read } = recording(new MemoryStore())
  const writer = await TimelineLog.open(store)
  await writer.commit(() => ({ addSegments: segments(2000) }))
  const reader = await TimelineLog.open(store)
  read.length = 0
  for (let i = 0; i < 5; i++) {
    await writer.commit(() => ({ addSegments: [segment(2000 + i)] }))
    expect(await reader.refresh()).toEqual(writer.timeline)
  }
  expect(read).toEqual([2, 3, 4, 5, 6].map((generation) => `timeline/${String(generation).padStart(12, '0')}.json`))
})

test('a long checkpoint is written and read in slices, between which the event loop turns', async () => {
  let turns = 0
  let isOver = false
  const turning = (async () => {
    for (; !isOver; turns++) await setImmediate()
  })()
  const { bytes, next } = await encodeNextGeneration(EMPTY_HEAD, { addSegments: segments(10_000) })
  expect(turns).toBeGreaterThan(20)
  const written = turns
  const head = await decodeHead(1, async () => bytes)
  expect(turns - written).toBeGreaterThan(20)
  isOver = true
  await turning
  expect(head).toEqual(next)
  // One JSON object like any other, whoever reads it.
  const { sha256: _, ...plain } = JSON.parse(Buffer.from(bytes).toString())
  expect(plain.timeline).toEqual(next.timeline)
})

test.each([0, 1, 2, 499, 500, 501, 1000])('a checkpoint of %i segments reads as it was written', async (count) => {
  const { bytes, next } = await encodeNextGeneration(EMPTY_HEAD, { addSegments: segments(count) })
  expect(await decodeHead(1, async () => bytes)).toEqual(next)
  // As another writer would write it: without lines of its own for each segment.
  const changed = Uint8Array.from(bytes)
  changed[changed.length - 5] = 0x20
  await expect(decodeHead(1, async () => changed)).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT' })
})

test('a segment that was committed twice is there once, whatever was committed in between', async () => {
  const log = await TimelineLog.open(new MemoryStore())
  await log.commit(() => ({ addSegments: segments(3) }))
  const other = { ...segment(0), stream: firstUlidAt(1_770_000_000_000), key: segment(0).key.replaceAll(STREAM, 'x') }
  await log.commit(() => ({ addSegments: [other, segment(2)] }))
  await log.commit(() => ({ addSegments: [segment(1), segment(3), other] }))
  expect(log.timeline.segments.map(({ key }) => key)).toEqual([...segments(3), other, segment(3)].map(({ key }) => key))
})

test('an image that is sealed with both of its parts is taken by whoever encodes it', () => {
  Object.assign(limits, { imageBytes: 100_000, fieldBytes: 200_064 })
  const part = (): Uint8Array => randomBytes(99_000)
  const change: Change = {
    ...{ kind: 'record', resource: 'r', id: 'x', context: NO_CONTEXT, operation: 'insert' },
    before: null,
    after: { json: part(), raw: part() },
  }
  const event = Buffer.alloc(encodedEventBytes(change))
  encodeEvent(event, 0, change, firstUlidAt(1), 1)
  const columns = new EventColumns()
  columns.append(STREAM, Buffer.from(sealEvents(Keyring.create(STREAM), event)))
  expect(columns.bytes).toBeGreaterThan(198_000)
  limits.fieldBytes = 198_000
  expect(() => new EventColumns().append(STREAM, Buffer.from(sealEvents(Keyring.create(STREAM), event)))).toThrow()
})

test('an object that no reader takes is not stored, wherever the store is', async () => {
  limits.objectBytes = 1000
  const directory = mkdtempSync(join(tmpdir(), 'limits-'))
  for (const store of [new MemoryStore(), new FilesystemStore(directory)]) {
    await store.put('fits', new Uint8Array(1000))
    await expect(store.put('large', new Uint8Array(1001))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(await store.head('large')).toBeNull()
  }
  rmSync(directory, { recursive: true })
})

test('a schema that no reader of a snapshot takes is not written into one', () => {
  const json = `{"attributes":{},"deep":${'['.repeat(jsonDepth)}${']'.repeat(jsonDepth)}}`
  const resource = { name: 'r', schema: { json, raw: null }, records: null, objects: null }
  const span = { ulid: STREAM, consistentFrom: STREAM }
  const manifest = { ...span, database: 'd', schema: null, resources: [resource], objects: null }
  expect(() => encodeManifest(manifest)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  const shallow = json.replace(/\[+\]+/, '[]')
  const readable = encodeManifest({ ...manifest, resources: [{ ...resource, schema: { json: shallow, raw: null } }] })
  expect(decodeManifest(Buffer.from(readable), 's3db.json').resources).toHaveLength(1)
})

test('the size of the catalogue is known to whoever wrote it and to whoever read it', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ addSegments: segments(100) }))
  const { bytes = 0 } = (await store.head('timeline/000000000001.json')) ?? {}
  await log.commit(() => ({ addSegments: [segment(100)] }))
  expect(bytes).toBeGreaterThan(40_000)
  for (const one of [log, await TimelineLog.open(store)]) expect(one.checkpointBytes).toBe(bytes)
})
