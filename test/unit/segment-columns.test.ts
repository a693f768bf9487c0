import { parquetMetadata } from 'hyparquet'
import { expect, test } from 'vitest'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { Salts } from '../../src/format/segment/salts.ts'
import { changeBetween, type Event } from '../../src/model/event.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { frames } from '../support/segments.ts'

/** Inserts of many records, at times that are far apart. */
function inserts(count: number): Event[] {
  let now = 1_700_000_000_000
  const ulids = new UlidGenerator(() => (now += 977), Buffer.from('columns.'))
  return Array.from({ length: count }, (_, n): Event => {
    const item = { kind: 'record', resource: 'r', id: `r${(n * 7919) % count}` } as const
    const after = { json: Buffer.from(JSON.stringify({ n, text: 'of the same words' })), raw: null }
    const change = changeBetween(item, null, after, { actor: `a${n % 50}`, transaction: null, metadata: null })
    if (change === null) throw new Error('no change')
    return { ...change, stamp: { ulid: ulids.next(), stream: 's1', sequence: n + 1 } }
  })
}

test('numbers are stored as they are packed, since nothing makes them shorter, and texts are compressed', () => {
  const { bytes } = encodeSegment(frames(inserts(2000)), { stream: 's1', level: 0 })
  const { row_groups: groups } = parquetMetadata(Uint8Array.from(bytes).buffer)
  const codecOf = (name: string): readonly (string | undefined)[] =>
    groups.map(
      ({ columns }) => columns.find(({ meta_data: data }) => data?.path_in_schema[0] === name)?.meta_data?.codec,
    )
  expect(groups.length).toBe(2)
  for (const name of ['time', 'sequence']) expect(codecOf(name)).toEqual(['UNCOMPRESSED', 'UNCOMPRESSED'])
  for (const name of ['ulid', 'record_id', 'actor', 'after']) expect(codecOf(name)).toEqual(['ZSTD', 'ZSTD'])
})

test('columns hold the same events, however many were expected', () => {
  const encoded = frames(inserts(100))
  const heldBy = (expected?: number): unknown => {
    const columns = new EventColumns(expected)
    for (const frame of encoded) columns.append('s1', frame)
    const { count } = columns
    const lists = [columns.sequence, columns.time, columns.item, columns.actor, columns.operation, columns.present]
    return [
      count,
      lists.map((list) => [...list.subarray(0, count)]),
      [...columns.position.subarray(0, 10 * count)],
      Array.from({ length: count }, (_, event) => columns.ulid(event)),
    ]
  }
  const held = heldBy()
  for (const expected of [0, 1, 99, 100, 101, 5000]) expect(heldBy(expected)).toEqual(held)
})

test('salts that are written one behind the other are those of their events, and none where they are gone', () => {
  const all = Salts.fresh()
  const gone = [2, 300]
  for (const salts of [all, all.without(new Set(gone), 1, 700)]) {
    for (const [first, last] of [
      [1, 700],
      [2, 2],
      [255, 256],
      [257, 299],
      [299, 513],
    ] as const) {
      const target = Buffer.alloc((last - first + 1) * 16 + 8)
      const isGone = (sequence: number): boolean => salts !== all && gone.includes(sequence)
      expect(salts.write(first, last, target, 4)).toEqual(
        gone.filter((one) => isGone(one) && one >= first && one <= last),
      )
      const sequences = Array.from({ length: last - first + 1 }, (_, i) => first + i)
      const wanted = sequences.map((one) => (isGone(one) ? Buffer.alloc(16) : (all.of(one) ?? Buffer.alloc(0))))
      expect(target.equals(Buffer.concat([Buffer.alloc(4), ...wanted, Buffer.alloc(4)]))).toBe(true)
    }
  }
  expect(all.without(new Set(gone), 1, 700).of(300)).toBeNull()
})
