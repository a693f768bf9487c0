import { expect, test } from 'vitest'
import { crc32, sha256 } from '../../src/base/bytes.ts'
import { buildBloom } from '../../src/format/segment/bloom.ts'
import { chainJson, type SegmentChain } from '../../src/format/segment/chain.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { type EncodedSegment, encodeSegment } from '../../src/format/segment/encode.ts'
import {
  CHAIN_KEY,
  CHECKSUMS_KEY,
  formatIndex,
  formatRange,
  INDEX_KEY,
  SEGMENT_KEY,
} from '../../src/format/segment/metadata.ts'
import { parquetFile } from '../../src/format/segment/parquet.ts'
import { openSegment, type SegmentReader } from '../../src/format/segment/read.ts'
import { encodeRunFile } from '../../src/format/segment/run-file.ts'
import { sortRows } from '../../src/format/segment/sort.ts'
import type { Event } from '../../src/model/event.ts'
import { changeBetween } from '../../src/model/event.ts'
import { newUlid, UlidGenerator } from '../../src/model/ulid.ts'
import { ChainCheck, checkEvents } from '../../src/upkeep/segment-check.ts'
import { frames, sortedEvents } from '../support/segments.ts'

const STREAM = newUlid(1)
const NOBODY = { actor: null, transaction: null, metadata: null }

/** Ten items, three writes of each. */
function written(): Event[] {
  let now = 1_700_000_000_000
  const ulids = new UlidGenerator(() => now++, Buffer.from('row-order'.slice(0, 8)))
  return Array.from({ length: 30 }, (_, n): Event => {
    const json = (value: number): { json: Uint8Array; raw: null } => ({
      json: Buffer.from(`{"v":${value}}`),
      raw: null,
    })
    const item = { kind: 'record', resource: 'r', id: `r${n % 10}` } as const
    const change = changeBetween(item, n < 10 ? null : json(n - 10), json(n), NOBODY)
    if (change === null) throw new Error('no change')
    return { ...change, stamp: { ulid: ulids.next(), stream: STREAM, sequence: n + 1 } }
  })
}

function readerOf(name: string, bytes: Uint8Array): Promise<SegmentReader> {
  return openSegment({
    name,
    bytes: bytes.length,
    footer: null,
    read: async (start, end) => bytes.subarray(start, end),
  })
}

/** The segment with two of its rows exchanged: all else of it is as it would be. */
function withExchanged(
  list: readonly Event[],
  chain: SegmentChain,
  info: EncodedSegment['info'],
  a: number,
  b: number,
): Uint8Array {
  const columns = new EventColumns()
  for (const frame of frames(list)) columns.append(STREAM, frame)
  const { events } = sortRows(columns, list.length)
  const [first, second] = [events[a] ?? 0, events[b] ?? 0]
  events[a] = second
  events[b] = first
  const rows = { events, elided: new Uint8Array(list.length) }
  const [top] = sortedEvents(list)
  if (top === undefined) throw new Error('no events')
  const index = formatIndex({
    rowGroups: [{ rows: list.length, first: { kind: top.kind, resource: top.resource, id: top.id } }],
    bloom: buildBloom(columns.items.hashes()),
  })
  const { bytes } = parquetFile(columns, rows, list.length, (checksums) => [
    [SEGMENT_KEY, formatRange(info)],
    [INDEX_KEY, index],
    [CHAIN_KEY, JSON.stringify(chainJson(chain))],
    [CHECKSUMS_KEY, checksums],
  ])
  return bytes
}

test('a segment whose rows are in another order is damage, although every event is there and every checksum right', async () => {
  const list = written()
  const { bytes, info } = encodeSegment(frames(list), { stream: STREAM, level: 0 })
  const chain = (await readerOf('whole', bytes)).chain()
  const check = async (file: Uint8Array): Promise<number> => {
    const footer = { bytes: info.footer.bytes, crc32: crc32(file.subarray(-info.footer.bytes)) }
    const entry = { ...info, key: 'k', bytes: file.length, sha256: sha256(file), footer }
    return checkEvents(await readerOf('k', file), entry)
  }
  expect(await check(bytes)).toBe(30)
  expect(await check(withExchanged(list, chain, info, 4, 4))).toBe(30)
  // Two writes of one record, of which the older would be taken for the newest; two records.
  for (const [a, b] of [
    [1, 2],
    [2, 3],
    [0, 29],
  ] as const)
    await expect(check(withExchanged(list, chain, info, a, b)), `${a}, ${b}`).rejects.toMatchObject({
      code: 'OBJECT_CORRUPT',
      message: expect.stringContaining('not in order'),
    })
})

test('files of a run that do not follow one another are damage, in whatever order they are checked', async () => {
  const list = written()
  const { bytes, info } = encodeSegment(frames(list), { stream: STREAM, level: 0 })
  const chain = (await readerOf('whole', bytes)).chain()
  const half = (isLow: boolean): EventColumns => {
    const columns = new EventColumns()
    for (const frame of frames(list.filter(({ id }) => id < 'r5' === isLow))) columns.append(STREAM, frame)
    return columns
  }
  const run = newUlid(2)
  for (const isRight of [true, false]) {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const check = new ChainCheck('run', [{ ...info, chain }])
      for (const file of order) {
        const encoded = encodeRunFile(half((file === 0) === isRight), { run, level: 1, file })
        const named = { key: `file ${file}`, ...encoded.info }
        await check.addFile(await readerOf(named.key, encoded.bytes), named)
      }
      if (isRight) expect(() => check.end()).not.toThrow()
      else expect(() => check.end()).toThrow('the files of its run are not in order')
    }
  }
})
