import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { encodeEvent as encode, encodedEventBytes } from '../../src/format/event-codec.ts'
import { rawToJson } from '../../src/format/raw-json.ts'
import type { Event } from '../../src/model/event.ts'
import { formatHead } from '../../src/model/head.ts'
import { withRanges, withSealed } from '../../src/model/sealed-ranges.ts'
import {
  EMPTY_TIMELINE,
  type ErasureChange,
  type StreamEntry,
  type StreamSegment,
  type Timeline,
} from '../../src/model/timeline.ts'
import { beforeInstant, firstUlidAt, instantEnd, lastUlidAt, UlidGenerator } from '../../src/model/ulid.ts'
import { gapsOf, isAcknowledged, startOf } from '../../src/restore/gaps.ts'
import { reachOf } from '../../src/restore/reach.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { image } from '../support/arbitrary.ts'
import { sealedSegments } from '../support/catalogue.ts'
import { segment, segments, streamOf as streamWith } from '../support/many-segments.ts'
import { encodeEvent, type Image as ReadImage } from '../support/second-reader/events.ts'
import { rawOf } from '../support/second-reader/message-pack.ts'
import {
  boundOf,
  gapsOf as gapsRead,
  reachOf as reachRead,
  startOf as startRead,
} from '../support/second-reader/moments.ts'
import { type Timeline as ReadTimeline, readTimeline } from '../support/second-reader/timeline.ts'
import { events } from '../support/segments.ts'

/*
 * What FORMAT.md says of gaps, moments, raw parts and event bytes, as a reader made from it alone understands it, is what
 * Tidemark does, also where no committed vector has the case.
 */
const packr = new Packr({ useRecords: false })
const RUNS = { numRuns: Number(process.env.TIDEMARK_RUNS ?? 300) }

/** The n-th of a series of stamps. */
function stamp(n: number): string {
  return String(n).padStart(26, '0')
}

const part = fc.record({
  kind: fc.constantFrom('segment', 'segment', 'hole', 'shed'),
  count: fc.integer({ min: 1, max: 3 }),
})

interface StreamParts {
  parts: { kind: string; count: number }[]
  goesOn: boolean
  isOpen: boolean
  isMissed: boolean
}

const streamParts: fc.Arbitrary<StreamParts> = fc.record({
  parts: fc.array(part, { maxLength: 7 }),
  goesOn: fc.boolean(),
  isOpen: fc.boolean(),
  isMissed: fc.boolean(),
})

/** A stream whose parts have the stamps from 100 times its number on, ten apart. */
function streamOf({ parts, goesOn, isOpen, isMissed }: StreamParts, number: number): [StreamEntry, StreamSegment[]] {
  const id = `s${number}`
  const segments: StreamSegment[] = []
  const shed: { firstSequence: number; lastSequence: number; after: string; before: string | null }[] = []
  let [next, at] = [1, 7 * number]
  for (const [i, { kind, count }] of parts.entries()) {
    const range = { firstSequence: next, lastSequence: next + count - 1 }
    next += count
    at += 10
    if (kind === 'shed')
      shed.push({ ...range, after: stamp(at), before: goesOn && i === parts.length - 1 ? null : stamp(at + 5) })
    if (kind !== 'segment') continue
    const stamps = { firstUlid: stamp(at), lastUlid: stamp(at + 5) }
    const file = { bytes: 1, sha256: '', footer: { bytes: 1, crc32: 0 }, chain: { previous: '', value: '' } }
    segments.push({ key: `${id} ${next}`, level: 0, stream: id, ...range, ...stamps, events: count, ...file })
  }
  const sealed = segments.at(-1)?.lastSequence ?? 0
  const stream: StreamEntry = {
    ...{ id, state: isOpen ? 'open' : 'closed', host: '', pid: 1, journal: { kind: 'memory' }, chain: '', owner: '' },
    openedAt: stamp(7 * number),
    sealedThrough: stamp(isOpen ? Math.max(7 * number, at - 20) : at + 7),
    lastSequence: isMissed ? Math.max(sealed, next - 1) : sealed,
    lastUlid: segments.at(-1)?.lastUlid ?? stamp(0),
    ...(shed.length === 0 ? {} : { shed }),
  }
  return [withSealed(stream, withRanges([], segments)), segments]
}

const timelines: fc.Arbitrary<Timeline> = fc
  .record({
    streams: fc.array(streamParts, { minLength: 1, maxLength: 3 }),
    snapshots: fc.uniqueArray(fc.integer({ min: 0, max: 90 }), { minLength: 1, maxLength: 4 }),
    lost: fc.option(fc.integer({ min: 1, max: 60 })),
    known: fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 9 }), fc.option(fc.nat(9)), fc.nat(99)), {
      maxLength: 3,
    }),
    isThrough: fc.boolean(),
  })
  .map(({ streams: parts, snapshots, lost, known, isThrough }) => {
    const made = parts.map(streamOf)
    const timeline: Timeline = {
      ...EMPTY_TIMELINE,
      streams: made.map(([stream]) => stream),
      segments: { nodes: [], tail: made.flatMap(([, segments]) => segments) },
      losses:
        lost === null
          ? []
          : [
              {
                stream: 's0',
                firstSequence: 3,
                after: stamp(lost),
                through: stamp(lost + 9),
                cause: 'crash',
                reason: '',
                by: null,
              },
            ],
      acknowledgements: known.map(([stream, firstSequence, more, at]) => {
        const lastSequence = more === null ? null : firstSequence + more
        return { stream: `s${stream}`, firstSequence, lastSequence, reason: `${at}`, by: 'ops', at: stamp(at) }
      }),
    }
    const except = isThrough
      ? gapsOf(timeline)
          .slice(0, 1)
          .map(({ acknowledged: _, ...gap }) => gap)
      : []
    return {
      ...timeline,
      snapshots: snapshots
        .sort((a, b) => a - b)
        .map((n, i) => {
          const file = { prefix: `${n}/`, records: 0, bytes: 1, manifestSha256: '' }
          const own = i === 0 && except.length > 0 ? { except } : {}
          return { ulid: stamp(n), consistentFrom: stamp(n + (n % 3)), ...file, ...own }
        }),
    }
  })

test('gaps, what they touch, and what can be reached', () => {
  fc.assert(
    fc.property(timelines, fc.integer({ min: 0, max: 100 }), (timeline, at) => {
      const read: ReadTimeline = JSON.parse(JSON.stringify({ ...timeline, segments: timeline.segments.tail }))
      expect(gapsRead(read)).toEqual(gapsOf(timeline))
      const start = startOf(timeline, stamp(at))
      const isReached = start?.except.every(isAcknowledged) === true
      expect(startRead(read, stamp(at))?.ulid ?? null).toBe(isReached ? (start?.snapshot.ulid ?? null) : null)
      const { earliest, latest } = reachOf(timeline)
      const reach = reachRead(read)
      expect([reach.earliest, reach.latest < reach.earliest ? null : reach.latest]).toEqual([earliest, latest])
    }),
    RUNS,
  )
})

/** What a reader has of lists that are absent. */
const NO_LISTS = { marks: [], holds: [], pruned: [], condemned: [], repairs: [], forgotten: [] }

/** Commits of so many segments each, of three streams in turn: some are closed behind them, and some are erased from. */
const commits = fc.array(
  fc.record({
    count: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 20, max: 700 })),
    isClosed: fc.boolean(),
    erased: fc.array(fc.nat(2000), { maxLength: 2 }),
    changed: fc.array(fc.nat(400), { maxLength: 3 }),
    marks: fc.array(fc.constantFrom('a', 'B', 'c-1'), { maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 8 },
)

test('the catalogue, whatever stands in its root and whatever below', async () => {
  const heights = new Set<number>()
  await fc.assert(
    fc.asyncProperty(commits, async (made) => {
      const store = new MemoryStore()
      const log = await TimelineLog.open(store)
      for (const [i, { count, isClosed, erased, changed, marks }] of made.entries()) {
        const stream = firstUlidAt(1_760_000_000_000 + i)
        const known = await sealedSegments(store, log.timeline)
        await log.commit(() => ({
          addSegments: Array.from({ length: count }, (_, n) => segment(n, stream)),
          putStreams: Array.from({ length: isClosed ? 50 : 1 }, (_, n) =>
            streamWith(
              count,
              isClosed ? 'closed' : 'open',
              n === 0 ? stream : firstUlidAt(1_770_000_000_000 + 100 * i + n),
            ),
          ),
        }))
        const others = changed.flatMap((n) => log.timeline.streams.slice(n, n + 1))
        const reason = '.'.repeat(isClosed ? 20_000 : 1)
        const hold = { id: firstUlidAt(i), from: stamp(1), through: stamp(2), until: null, reason, by: null }
        await log.commit(() => ({ putStreams: others.map((one) => ({ ...one, host: `${i}` })), addHold: hold }))
        for (const name of marks) await log.commit(() => ({ putMark: { name, ulid: stamp(i), at: stamp(i) } }))
        const again = erased.flatMap((n) => known.slice(n, n + 1))
        if (again.length > 0) await log.commit(() => ({ erase: erasureOf(again) }))
      }
      const { timeline, head } = readTimeline(await filesIn(store))
      expect(head).toBe(log.head === null ? '' : formatHead(log.head))
      const { segments: index, generation: _, ...sections } = log.timeline
      expect(inOrder({ ...timeline, segments: [] })).toEqual(inOrder({ ...NO_LISTS, ...sections, segments: [] }))
      const byUlid = timeline.segments.toSorted((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
      expect(byUlid).toEqual(await sealedSegments(store, log.timeline))
      for (const { height } of [...index.nodes, ...log.present.ledger.nodes]) heights.add(height)
    }),
    { numRuns: 12, seed: 5 },
  )
  expect([...heights].sort()).toEqual([0, 1])
})

test('a catalogue of many segments, with nodes of three heights, whose first generations went', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  const count = 48_000
  await log.commit(() => ({ addSegments: segments(count), putStreams: [streamWith(count)] }))
  await log.commit(() => ({ erase: erasureOf([segment(0), segment(count - 2)]) }))
  expect(new Set(log.timeline.segments.nodes.map(({ height }) => height))).toEqual(new Set([2, 1, 0]))
  for (const kept of [3, 1]) {
    for (let i = 0; i < 4; i++) await log.commit(() => ({ putStreams: [streamWith(count)] }))
    await forgetGenerations(store, log, { kept, least: 1 })
  }
  const { timeline, head } = readTimeline(await filesIn(store))
  expect(head).toBe(log.head === null ? '' : formatHead(log.head))
  expect([timeline.forgotten?.length, timeline.forgotten?.[0]?.first]).toEqual([1, 1])
  const found = timeline.segments.toSorted((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
  expect(found).toHaveLength(count)
  for (const [n, one] of found.entries())
    expect(`${one.sha256} ${one.events}`).toBe(`${segment(n).sha256} ${n === 0 || n === count - 2 ? 9 : 10}`)
  expect(found[0]?.key).toContain('4567')
})

/** With every list in the order of its texts: that of the entries means nothing. */
function inOrder(lists: Readonly<Record<string, readonly object[]>>): object {
  return Object.fromEntries(
    Object.entries(lists).map(([name, list]) => [name, list.map((one) => JSON.stringify(one)).sort()]),
  )
}

/** As if a record had been taken out of these. */
function erasureOf(erased: readonly StreamSegment[]): ErasureChange {
  const [ulid, mode] = [firstUlidAt(1_780_000_000_000), 'rewritten' as const]
  return {
    entry: { ulid, resource: 'users', mode, reason: 'asked', by: null, events: erased.length, snapshots: 0 },
    segments: erased.map((one) => ({
      key: one.key,
      by: { ...one, key: one.key.replace('0123', '4567'), events: 9 },
    })),
    snapshots: [],
  }
}

async function filesIn(store: MemoryStore): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for await (const { key } of store.list('')) files.set(key, await store.get(key))
  return files
}

test('moments as bounds', () => {
  fc.assert(
    fc.property(fc.double({ min: 1, max: 2 ** 48 - 2, noNaN: true }), fc.nat(3), (now, others) => {
      const ulids = new UlidGenerator(() => now)
      let ulid = ulids.next()
      for (let i = 0; i < others; i++) ulid = ulids.another()
      expect(boundOf(ulid)).toBe(instantEnd(ulid))
      expect(boundOf({ before: ulid })).toBe(beforeInstant(ulid))
      expect(boundOf(Math.floor(now))).toBe(lastUlidAt(Math.floor(now)))
    }),
    RUNS,
  )
})

test('raw parts in lines of snapshots, whatever MessagePack they are', () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.dictionary(fc.constantFrom('$bin', '$msgpack', '__proto__', '1', '0', 'a'), fc.oneof(fc.string(), fc.integer())),
    fc.string({ minLength: 30, maxLength: 300 }),
    fc.array(fc.constantFrom(1, -1, 128, -129, 65536), { minLength: 14, maxLength: 20 }),
  )
  const raw = fc.oneof(
    value.map((one) => new Uint8Array(packr.pack(one))),
    image.map((one) => one.raw ?? Uint8Array.of(0xc0)),
    fc.uint8Array({ minLength: 1, maxLength: 12 }), // often none at all
  )
  fc.assert(
    fc.property(raw, (bytes) => {
      const read = rawOf(JSON.parse(rawToJson(bytes)))
      expect(Buffer.from(read ?? []).toString('hex')).toBe(Buffer.from(bytes).toString('hex'))
    }),
    RUNS,
  )
})

test('the bytes of an event', () => {
  const readable = (one: Event['before']): ReadImage | null =>
    one === null ? null : { json: Buffer.from(one.json).toString(), raw: one.raw }
  fc.assert(
    fc.property(events('01KAJ0QZX3N5V7E8T9RYBWDCFG', 6), (list) => {
      for (const event of list) {
        const { kind, resource, id, operation, context, before, after, stamp: own } = event
        const bytes = Buffer.alloc(encodedEventBytes(event))
        encode(bytes, 0, event, own.ulid, own.sequence)
        const { actor, transaction, metadata } = context
        const told = { kind, resource, id, operation, ...own, before: readable(before), after: readable(after) }
        expect(encodeEvent({ ...told, context: [actor, transaction, metadata] }).equals(bytes)).toBe(true)
      }
    }),
    { numRuns: 50 },
  )
})
