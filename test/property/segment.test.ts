import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256 } from '../../src/base/bytes.ts'
import { hasCode } from '../../src/base/errors.ts'
import { chainStart, type SegmentChain } from '../../src/format/segment/chain.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { Malformed } from '../../src/format/segment/corrupt.ts'
import { decodeBytes, decodeCodes, decodeFlags, decodeNumbers } from '../../src/format/segment/decode.ts'
import { encodeColumns, encodeSegment } from '../../src/format/segment/encode.ts'
import { parseFooter } from '../../src/format/segment/footer.ts'
import { Salts } from '../../src/format/segment/salts.ts'
import { COLUMNS } from '../../src/format/segment/schema.ts'
import { type Event, NO_CONTEXT } from '../../src/model/event.ts'
import { UlidGenerator, ulidTime } from '../../src/model/ulid.ts'
import { allEvents, events, frames, open, showEvent, sortedEvents } from '../support/segments.ts'

const rowGroupRows = fc.constantFrom(1, 2, 3, 7, 2048)

test('a segment gives back exactly the events it was made of, in the documented order', async () => {
  await fc.assert(
    fc.asyncProperty(events(), rowGroupRows, fc.integer({ min: 1, max: 5 }), async (list, rows, buffers) => {
      const segment = encodeSegment(frames(list, buffers), { stream: 's1', level: 3, rowGroupRows: rows })
      const { reader } = await open(segment)
      expect((await allEvents(reader)).map(showEvent)).toEqual(sortedEvents(list).map(showEvent))
      const range = {
        level: 3,
        stream: 's1',
        firstSequence: list[0]?.stamp.sequence,
        lastSequence: list.at(-1)?.stamp.sequence,
        firstUlid: list[0]?.stamp.ulid,
        lastUlid: list.at(-1)?.stamp.ulid,
        events: list.length,
      }
      const { sha256: hash, bytes, footer, filter, chain, ...info } = segment.info
      expect([info, hash, bytes]).toEqual([range, sha256(segment.bytes), segment.bytes.length])
      expect(filter).toBe(reader.filter)
      expect(reader.info).toEqual(range)
      expect((await open(segment, segment.bytes, null)).reader.info).toEqual(range)
      expect(reader.rowGroups.map((group) => group.rows)).toEqual(groupSizes(list.length, rows))
    }),
    { numRuns: 300 },
  )
})

function groupSizes(rows: number, each: number): number[] {
  return Array.from({ length: Math.ceil(rows / each) }, (_, i) => Math.min(each, rows - i * each))
}

test('no dictionary of a row group has a value twice, also where resources share ids and kinds resources', async () => {
  await fc.assert(
    fc.asyncProperty(events(), rowGroupRows, async (list, rows) => {
      const segment = encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows: rows })
      const { reader } = await open(segment)
      for (const index of reader.rowGroups.keys()) {
        const group = await reader.readRowGroup(index, ['kind', 'resource', 'record_id'])
        const ids = group.bytes('record_id')
        const idOfRange = new Map(Array.from(ids.starts, (start, row) => [start, ids.text(row)]))
        for (const values of [group.codes('kind').values, group.codes('resource').values, [...idOfRange.values()]]) {
          expect(new Set(values).size).toBe(values.length)
        }
      }
    }),
  )
})

test('ids that are alike for long, or of which one begins another, are sorted by all of their bytes', async () => {
  const part = fc.constantFrom('', 'a', 'aaaaaa', 'aaaaaaa', '\0', '\u00e9', '\uffff', '\u{10ffff}')
  const ids = fc.uniqueArray(
    fc.tuple(part, part, part).map((parts) => parts.join('')),
    { minLength: 1, maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(ids, async (list) => {
      const ulids = new UlidGenerator(() => 1_790_000_000_000)
      const given = list.map((id, i): Event => {
        const item = { kind: 'record', resource: 'r', id, context: NO_CONTEXT } as const
        const after = { json: Buffer.from('{}'), raw: null }
        const stamp = { ulid: ulids.next(), stream: 's', sequence: i + 1 }
        return { ...item, operation: 'insert', before: null, after, stamp }
      })
      const { reader } = await open(encodeSegment(frames(given, 1), { stream: 's', level: 0 }))
      const found = (await allEvents(reader)).map(({ id }) => id)
      expect(found).toEqual(list.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
    }),
  )
})

test('the time column is the time of the ULID', async () => {
  await fc.assert(
    fc.asyncProperty(events(), async (list) => {
      const { reader } = await open(encodeSegment(frames(list), { stream: 's1', level: 0 }))
      const times = (await reader.readRowGroup(0, ['time'])).numbers('time')
      expect([...times]).toEqual(sortedEvents(list).map((event) => ulidTime(event.stamp.ulid)))
    }),
  )
})

/** Of a file of several streams: not looked at here. */
const NO_CHAIN: SegmentChain = { previous: chainStart(''), links: [], salts: Salts.fresh(), erased: [] }

test('events of several streams, from any sequence on, merge by ULID within an item', async () => {
  await fc.assert(
    fc.asyncProperty(events('s1'), events('s2'), fc.nat(60), async (one, two, skipped) => {
      const columns = new EventColumns()
      const after = (two[0]?.stamp.sequence ?? 0) + skipped - 1
      for (const frame of frames(one)) columns.append('s1', frame)
      for (const frame of frames(two)) columns.append('s2', frame, after)
      const { reader } = await open(encodeColumns(columns, { stream: 'merged', level: 1, rowGroupRows: 16 }, NO_CHAIN))
      const expected = sortedEvents([...one, ...two.filter((event) => event.stamp.sequence > after)])
      expect((await allEvents(reader)).map(showEvent)).toEqual(expected.map(showEvent))
    }),
  )
})

test('an image of a megabyte comes back, and an elided one is stored once', async () => {
  const big = { json: Buffer.from(JSON.stringify({ text: 'é'.repeat(500_000) })), raw: Buffer.alloc(1_000_000, 7) }
  const item = { kind: 'record', resource: 'r', id: 'x' } as const
  const context = { actor: null, transaction: null, metadata: null }
  const list: Event[] = [
    { ...item, context, operation: 'insert', before: null, after: big, stamp: stamp(1) },
    { ...item, context, operation: 'update', before: big, after: big, stamp: stamp(2) },
    { ...item, context, operation: 'delete', before: big, after: null, stamp: stamp(3) },
  ]
  const { reader } = await open(encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows: 10 }))
  expect((await allEvents(reader)).map(showEvent)).toEqual(list.map(showEvent))
  const group = await reader.readRowGroup(0, ['before', 'before_raw', 'before_elided'])
  expect([...group.flags('before_elided')]).toEqual([0, 1, 1])
  expect(group.bytes('before').data.length + group.bytes('before_raw').data.length).toBeLessThan(100)
  // Rows are so large here that by default a row group has few of them.
  const many = Array.from({ length: 40 }, (_, i) => ({ ...list[0], stamp: stamp(i + 1) }) as Event)
  expect((await open(encodeSegment(frames(many), { stream: 's1', level: 0 }))).reader.rowGroups.length).toBeGreaterThan(
    3,
  )
})

function stamp(sequence: number): Event['stamp'] {
  return { ulid: `01KAAAAAAAAAAAAAAAAAAA${String(sequence).padStart(4, '0')}`, stream: 's1', sequence }
}

test('the filter and the index find every item, and the index only where it can be', async () => {
  await fc.assert(
    fc.asyncProperty(events(), rowGroupRows, async (list, rows) => {
      const { reader } = await open(encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows: rows }))
      const sorted = sortedEvents(list)
      const within = (test: (event: Event) => boolean): number[] => [
        ...new Set(sorted.flatMap((event, row) => (test(event) ? [Math.floor(row / rows)] : []))),
      ]
      for (const { kind, resource, id } of list) {
        expect(reader.mayContain({ kind, resource, id })).toBe(true)
        const exact = within((event) => event.kind === kind && event.resource === resource && event.id === id)
        const found = reader.rowGroupsOf({ kind, resource, id })
        // The row group before the first may be read in vain: only its last item, which no index has, could tell.
        expect(found.slice(-exact.length)).toEqual(exact)
        expect(found.length - exact.length).toBeLessThanOrEqual(1)
        const ofResource = within((event) => event.kind === kind && event.resource === resource)
        const foundOfResource = reader.rowGroupsOf({ kind, resource })
        expect(foundOfResource.slice(-ofResource.length)).toEqual(ofResource)
        expect(foundOfResource.length - ofResource.length).toBeLessThanOrEqual(1)
        const ofKind = within((event) => event.kind === kind)
        expect(reader.rowGroupsOf({ kind }).slice(-ofKind.length)).toEqual(ofKind)
      }
    }),
  )
})

test('neighbouring columns are read in one request, and no byte of others', async () => {
  const [list] = fc.sample(events('s1', 60), { numRuns: 1, seed: 5 })
  const { reader, reads } = await open(encodeSegment(frames(list ?? []), { stream: 's1', level: 0 }))
  expect(reads.length).toBe(1)
  await reader.readRowGroup(
    0,
    COLUMNS.map(({ name }) => name),
  )
  expect(reads.length).toBe(2)
})

test('a flipped byte is found by a checksum, or changes nothing that is read', async () => {
  const [list] = fc.sample(events('s1', 9, 9), { numRuns: 1, seed: 1 })
  const segment = encodeSegment(frames(list ?? []), { stream: 's1', level: 0, rowGroupRows: 4 })
  const expected = sortedEvents(list ?? []).map(showEvent)
  let found = 0
  for (let at = 0; at < segment.bytes.length; at++) {
    const damaged = Uint8Array.from(segment.bytes)
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
    try {
      const { reader } = await open(segment, damaged)
      expect((await allEvents(reader)).map(showEvent)).toEqual(expected)
    } catch (error) {
      if (!hasCode(error, 'SEGMENT_CORRUPT')) throw error
      expect(error.message).toContain('segment/test.parquet')
      found++
    }
  }
  expect(found).toBeGreaterThan(segment.bytes.length / 2)
})

test('a truncated file and a wrong footer are refused', async () => {
  const [list] = fc.sample(events(), { numRuns: 1, seed: 2 })
  const segment = encodeSegment(frames(list ?? []), { stream: 's1', level: 0 })
  for (const length of [0, 3, 7, 8, 100, segment.bytes.length - 1]) {
    const cut = segment.bytes.subarray(0, length)
    for (const footer of [segment.info.footer, null]) {
      await expect(open(segment, cut, footer)).rejects.toMatchObject({ code: 'SEGMENT_CORRUPT' })
    }
  }
})

/** Damage that no checksum guards against, as if someone had made the file so: the decoders refuse it or decode it. */
test('hostile bytes are refused without a crash', async () => {
  const [list] = fc.sample(events('s1', 50, 50), { numRuns: 1, seed: 3 })
  const segment = encodeSegment(frames(list ?? []), { stream: 's1', level: 0, rowGroupRows: 20 })
  const footerBytes = segment.bytes.subarray(segment.bytes.length - segment.info.footer.bytes)
  const footer = parseFooter(footerBytes, segment.bytes.length)
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
  const survive = (decode: () => unknown): void => {
    try {
      decode()
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
    }
  }
  const hurt = (bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array => {
    const copy = Uint8Array.from(bytes)
    for (const [at, value] of changes) copy[at % copy.length] = value
    return copy
  }
  fc.assert(
    fc.property(damage, fc.nat(COLUMNS.length - 1), (changes, index) => {
      survive(() => parseFooter(hurt(footerBytes, changes), segment.bytes.length))
      const [chunk, column] = [footer.rowGroups[0]?.chunks[index], COLUMNS[index]]
      if (chunk === undefined || column === undefined) throw new Error('no such column')
      const bytes = hurt(segment.bytes.subarray(chunk.start, chunk.end), changes)
      if (column.type === 'boolean') survive(() => decodeFlags(bytes, chunk))
      else if (column.type === 'int64' || column.type === 'time') survive(() => decodeNumbers(bytes, chunk))
      else {
        survive(() => decodeBytes(bytes, chunk, column))
        if (column.encoding === 'dictionary') survive(() => decodeCodes(bytes, chunk, column))
      }
    }),
    { numRuns: 20_000 },
  )
})

test('a hole in the sequence, no events and a wrong order are refused', () => {
  fc.assert(
    fc.property(
      events().filter((list) => list.length > 2),
      fc.nat(),
      (list, which) => {
        const hole = 1 + (which % (list.length - 2))
        const broken = list.filter((_, i) => i !== hole)
        expect(() => encodeSegment(frames(broken), { stream: 's1', level: 0 })).toThrow(
          expect.objectContaining({ code: 'HISTORY_GAP' }),
        )
        expect(() => encodeSegment(frames(list.toReversed()), { stream: 's1', level: 0 })).toThrow(
          expect.objectContaining({ code: 'HISTORY_GAP' }),
        )
      },
    ),
  )
  expect(() => encodeSegment([], { stream: 's1', level: 0 })).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID' }),
  )
})
