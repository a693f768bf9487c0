import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { eventsOf } from '../../src/format/segment/events.ts'
import { encodeRunFile } from '../../src/format/segment/run-file.ts'
import { BLOCK_BYTES, decodeIndex, layoutOf } from '../../src/format/segment/run-index.ts'
import { RunIndexBuilder } from '../../src/format/segment/run-index-builder.ts'
import { rowGroupIn, timesOf } from '../../src/format/segment/run-index-pairs.ts'
import type { Event, Item } from '../../src/model/event.ts'
import type { MergedSegment, RunFile } from '../../src/model/timeline.ts'
import { firstUlidAt, lastUlidAt, ulidTime } from '../../src/model/ulid.ts'
import { hasEvent } from '../../src/restore/lookup.ts'
import type { ReplaySources } from '../../src/restore/replay.ts'
import { RunLookup } from '../../src/restore/run-lookup.ts'
import { Segments, type SegmentUnit } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { RunItems } from '../../src/upkeep/run-indexes.ts'
import { trickyId } from '../support/arbitrary.ts'
import { events, frames, showEvent, sortedEvents } from '../support/segments.ts'
import { CountingStore } from '../support/stores.ts'

const RUN = firstUlidAt(1_790_000_000_000)
const INDEX = `segment/${RUN}/01/index-0123abcd.bin`
const RUNS = { numRuns: Number(process.env.TIDEMARK_RUNS ?? 100) }

const limits: { -readonly [limit in keyof typeof LIMITS]: number } = LIMITS
const before = { ...LIMITS }
afterEach(() => {
  Object.assign(limits, before)
})

/** Sorted events cut into files, and these into row groups of so many rows. */
async function runOf(
  list: readonly Event[],
  { files, rowGroupRows }: { readonly files: number; readonly rowGroupRows: number },
): Promise<{ readonly store: MemoryStore; readonly unit: SegmentUnit; readonly run: RunFile }> {
  const store = new MemoryStore()
  const items = new RunItems(RUN)
  const sorted = sortedEvents(list)
  const size = Math.ceil(sorted.length / files)
  const entries: Omit<MergedSegment, 'run'>[] = []
  for (let file = 0; file * size < sorted.length; file++) {
    const columns = new EventColumns()
    for (const frame of frames(sorted.slice(file * size, (file + 1) * size), 1)) columns.append('s1', frame)
    const { bytes, info } = encodeRunFile(columns, { run: RUN, level: 1, file, rowGroupRows })
    const key = `segment/${RUN}/01/${String(file).padStart(4, '0')}-0123abcd.parquet`
    await store.put(key, bytes)
    entries.push({ ...info, key })
  }
  // In any order: an index says the same.
  for (const entry of entries.toReversed()) await items.addFile(entry, await store.get(entry.key))
  const { bytes, file } = items.make(INDEX)
  await store.put(INDEX, bytes)
  const run = { key: `segment/${RUN}/01/chain-0123abcd.json.gz`, bytes: 1, sha256: '', index: file }
  const unit = { entries: entries.map((entry) => ({ ...entry, run })), firstUlid: '', lastUlid: 'Z' }
  return { store, unit, run }
}

/** Of what a lookup has, what is not asked for here. */
const UNUSED: Omit<ReplaySources, 'store' | 'segments'> = {
  snapshots: new Snapshots(new MemoryStore()),
  nodes: segmentNodes(new MemoryStore()),
  memory: 0,
  scratch: () => new MemoryStore(),
  open: null,
}

const shape = fc.record({ files: fc.integer({ min: 1, max: 4 }), rowGroupRows: fc.constantFrom(1, 2, 3, 7, 512) })

function keyOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

async function eventsIn(
  store: MemoryStore,
  unit: SegmentUnit,
  item: Item,
  way: 'forward' | 'backward',
): Promise<string[]> {
  const found: Event[] = []
  const next = way === 'forward' ? 'none' : 'others'
  const groups = await new Segments(store).find(unit, item, { next, through: null })
  if (groups === null) return []
  for await (const group of groups[way]()) {
    const own = [...eventsOf(group)].filter((event) => keyOf(event) === keyOf(item))
    if (way === 'forward') found.push(...own)
    else found.unshift(...own)
  }
  return found.map(showEvent)
}

test('of every item all events are found by the index, in order, and of others none', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, fc.array(trickyId, { maxLength: 8 }), async (list, how, others) => {
      const { store, unit } = await runOf(list, how)
      const items = Map.groupBy(list, keyOf)
      for (const own of items.values()) {
        const [item] = own
        if (item === undefined) continue
        const expected = sortedEvents(own).map(showEvent)
        expect(await eventsIn(store, unit, item, 'forward')).toEqual(expected)
        expect(await eventsIn(store, unit, item, 'backward')).toEqual(expected)
      }
      for (const id of others) {
        for (const item of [
          { kind: 'record', resource: 'users', id },
          { kind: 'object', resource: id, id: 'u1' },
        ] as const) {
          if (!items.has(keyOf(item)))
            expect(await new Segments(store).find(unit, item, { next: 'none', through: null })).toBeNull()
        }
      }
    }),
    RUNS,
  )
})

test('an item is not looked for in a run whose first event of it is later, and in every other: what a moment has is found', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, async (list, how) => {
      const { store, unit, run } = await runOf(list, how)
      const times = list.map(({ stamp }) => ulidTime(stamp.ulid))
      const unitMs = Math.max(1, (Math.max(...times) - Math.min(...times) + 1) / timesOf(run.index.rowGroups))
      for (const own of Map.groupBy(list, keyOf).values()) {
        const [item] = own
        if (item === undefined) continue
        const first = Math.min(...own.map(({ stamp }) => ulidTime(stamp.ulid)))
        const since = (await new RunLookup(store).find(run.index, item, 'none'))?.since ?? Number.NaN
        expect(since).toBeLessThanOrEqual(first)
        expect(since).toBeGreaterThan(first - Math.ceil(unitMs))
        const isAsked = async (ms: number): Promise<boolean> =>
          (await new Segments(store).find(unit, item, { next: 'none', through: lastUlidAt(ms) })) !== null
        expect(await isAsked(since - 1)).toBe(false)
        for (const time of times) if (time >= first) expect(await isAsked(time)).toBe(true)
      }
    }),
    RUNS,
  )
})

test('what an index tells of the time of an item may be earlier than its first event, and never later', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, fc.nat(), async (list, how, at) => {
      const { store, unit, run } = await runOf(list, how)
      const items = new RunItems(RUN)
      for (const entry of unit.entries) await items.addFile(entry, await store.get(entry.key))
      const index = decodeIndex(run.index, await store.get(INDEX))
      expect(items.isToldBy(index)).toBe(true)
      const { pairs } = index
      const isToldSince = (since: number): boolean => items.isToldBy({ ...index, pairs: { ...pairs, since } })
      expect([isToldSince(pairs.since - 1), isToldSince(pairs.since + 1)]).toEqual([true, false])
      const hash = pairs.hashes[at % pairs.hashes.length]
      const later = pairs.groups.map((group, i) => (pairs.hashes[i] === hash ? group + 1 : group))
      const isRoom = pairs.groups.every((group, i) => pairs.hashes[i] !== hash || group % pairs.times < pairs.times - 1)
      if (isRoom) expect(items.isToldBy({ ...index, pairs: { ...pairs, groups: later } })).toBe(false)
    }),
    RUNS,
  )
})

test('an item is looked for in no row group but those from its first to its last', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, async (list, how) => {
      const { store, unit, run } = await runOf(list, how)
      const lookup = new RunLookup(store)
      const groups: string[][] = []
      for (const { key } of unit.entries) {
        const entry = unit.entries.find((one) => one.key === key)
        if (entry === undefined) continue
        const reader = await new Segments(store).scan(entry)
        for (const index of reader.rowGroups.keys()) {
          const group = await reader.readRowGroup(index, ['kind', 'resource', 'record_id'])
          const [kinds, resources, ids] = [group.codes('kind'), group.codes('resource'), group.bytes('record_id')]
          groups.push(
            Array.from({ length: group.rows }, (_, row) =>
              JSON.stringify([
                kinds.values[kinds.codes[row] ?? -1],
                resources.values[resources.codes[row] ?? -1],
                ids.text(row),
              ]),
            ),
          )
        }
      }
      expect(run.index.rowGroups).toBe(groups.length)
      const { places } = decodeIndex(run.index, await store.get(INDEX))
      for (const item of list) {
        const own = groups.flatMap((items, number) => (items.includes(keyOf(item)) ? [number] : []))
        const expected = places.slice(own[0], (own.at(-1) ?? 0) + 1)
        for (const next of ['none', 'others'] as const) {
          const found = await lookup.find(run.index, item, next)
          if (found === null) throw new Error('it is there')
          expect(await lookup.places(run.index, found.rowGroups, next)).toEqual(expected)
        }
      }
    }),
    RUNS,
  )
})

test('whether an event is in a run is told by few requests, however many row groups it has', async () => {
  await fc.assert(
    fc.asyncProperty(events(), fc.integer({ min: 1, max: 3 }), async (list, files) => {
      const { store, unit } = await runOf(list, { files, rowGroupRows: 1 })
      const counting = new CountingStore(store)
      const sources = { ...UNUSED, store: counting, segments: new Segments(counting) }
      for (const { stamp } of list) {
        counting.reset()
        expect(await hasEvent(sources, unit.entries, stamp.ulid)).toBe(true)
        // The footer of a file at most once, and its columns; these are small.
        expect(counting.calls.get).toBeLessThanOrEqual(2 * unit.entries.length)
      }
      expect(await hasEvent(sources, unit.entries, firstUlidAt(1))).toBe(false)
    }),
    RUNS,
  )
})

test('an index that is not what was written answers nothing: no block of another place, of another index, or cut off', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, fc.nat(), fc.integer({ min: 1, max: 255 }), async (list, how, at, by) => {
      const { store, unit, run } = await runOf(list, how)
      const whole = await store.get(INDEX)
      const flipped = Uint8Array.from(whole)
      flipped[at % whole.length] = (flipped[at % whole.length] ?? 0) ^ by
      const swapped = new Uint8Array([...whole.subarray(BLOCK_BYTES), ...whole.subarray(0, BLOCK_BYTES)])
      const other = new RunItems(RUN)
      for (const entry of unit.entries) await other.addFile(entry, await store.get(entry.key))
      const elsewhere = other.make(INDEX.replace('0123abcd', '4567abcd')).bytes
      for (const bytes of [
        flipped,
        swapped,
        elsewhere,
        whole.subarray(0, at % whole.length),
        new Uint8Array(whole.length),
      ]) {
        await store.put(INDEX, bytes)
        // One of so few items is read as a whole: every block of it is checked.
        const lookUp = async (): Promise<void> => {
          const lookup = new RunLookup(store)
          const found = await lookup.find(run.index, list[0] ?? { kind: 'record', resource: '', id: '' }, 'none')
          if (found !== null) await lookup.places(run.index, found.rowGroups, 'none')
        }
        await expect(lookUp()).rejects.toMatchObject({ category: 'corrupt', details: { key: INDEX } })
        expect(() => decodeIndex(run.index, bytes)).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT' }))
      }
    }),
    RUNS,
  )
})

test('a row group that is not what the index says is refused', async () => {
  await fc.assert(
    fc.asyncProperty(events(), shape, fc.nat(), fc.integer({ min: 1, max: 255 }), async (list, how, at, by) => {
      const { store, unit, run } = await runOf(list, how)
      const { places } = decodeIndex(run.index, await store.get(INDEX))
      const place = places[at % places.length]
      const entry = unit.entries[place?.file ?? 0]
      if (place === undefined || entry === undefined) throw new Error('there is a row group')
      const bytes = Uint8Array.from(await store.get(entry.key))
      const offset = place.start + (at % place.bytes)
      bytes[offset] = (bytes[offset] ?? 0) ^ by
      await store.put(entry.key, bytes)
      let refused = 0
      for (const item of list) {
        const answered = await eventsIn(store, unit, item, 'forward').catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'SEGMENT_CORRUPT', details: { key: entry.key } })
          refused++
          return null
        })
        const own = list.filter((event) => keyOf(event) === keyOf(item))
        if (answered !== null) expect(answered).toEqual(sortedEvents(own).map(showEvent))
      }
      expect(refused).toBeGreaterThan(0)
    }),
    RUNS,
  )
})

test('any bytes at all are an index or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3 * BLOCK_BYTES, size: 'max' }), fc.nat(500), (bytes, rowGroups) => {
      const name = { key: INDEX, bytes: bytes.length, rowGroups }
      expect(() => decodeIndex(name, bytes)).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT' }))
    }),
  )
})

/** Pairs of as many items, with row groups in between. */
function builderOf(items: number, rowGroups: number): { readonly builder: RunIndexBuilder; readonly pairs: number } {
  const place = { file: 0, start: 4, bytes: 100, rows: 1, checksum: 0, compressed: 0 }
  const hashes = Array.from({ length: items }, (_, i) => createHash('sha256').update(`${i}`).digest().readUInt32LE(0))
  const times = timesOf(rowGroups)
  const groups = hashes.map((_, i) => (i % rowGroups) * times)
  const builder = new RunIndexBuilder(RUN)
  const pairs = { since: 0, unit: 1, times, hashes: Uint32Array.from(hashes), groups: Uint32Array.from(groups) }
  builder.addPart({ pairs, places: Array.from({ length: rowGroups }, () => place) })
  return { builder, pairs: new Set(hashes.map((hash, i) => `${hash} ${groups[i]}`)).size }
}

test('of many items no bucket overflows, and an item takes some ten bytes', () => {
  for (const [items, rowGroups] of [
    [0, 0],
    [1, 1],
    [253, 102],
    [254, 103],
    [100_000, 2000],
    [300_000, 5],
  ] as const) {
    const { builder, pairs: expected } = builderOf(items, Math.max(1, rowGroups))
    const { bytes, rowGroups: told } = builder.finish(INDEX)
    const name = { key: INDEX, bytes: bytes.length, rowGroups: told }
    const { pairs, places } = decodeIndex(name, bytes)
    expect([pairs.hashes.length, places.length]).toEqual([expected, told])
    expect(pairs.groups.every((group) => rowGroupIn(group, pairs) < told)).toBe(true)
    expect(layoutOf(name).placeBlocks).toBe(Math.ceil(told / 102))
    if (items > 1000) expect(bytes.length / (items + 2 * told)).toBeLessThan(11.5)
  }
})

test('a time takes the bits that row groups leave free', () => {
  const times = [1, 2, 3, 4096, 4097, 2 ** 21].map(timesOf)
  expect(times).toEqual([2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20, 2 ** 19, 2 ** 11])
})

test('an index that no reader takes is not written', () => {
  limits.runIndexBytes = 4 * BLOCK_BYTES
  expect(builderOf(300, 1).builder.finish(INDEX).bytes.length).toBeLessThanOrEqual(4 * BLOCK_BYTES)
  expect(() => builderOf(1000, 1).builder.finish(INDEX)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  const name = { key: INDEX, bytes: 5 * BLOCK_BYTES, rowGroups: 1 }
  expect(() => layoutOf(name)).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT' }))
})
