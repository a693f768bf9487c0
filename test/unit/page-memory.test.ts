import { expect, test, vi } from 'vitest'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { type Event, NO_CONTEXT } from '../../src/model/event.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { SegmentRun } from '../../src/restore/segment-run.ts'
import { frames, open } from '../support/segments.ts'

const GROUPS = 30
/** Bytes of each image. */
const JSON_BYTES = 200_000
const RAW_BYTES = 50_000

test('images of one row group after the other, with their raw parts, are decompressed into the same memory', async () => {
  const ulids = new UlidGenerator(() => 1_790_000_000_000)
  const list = Array.from({ length: 2 * GROUPS }, (_, i): Event => {
    const after = { json: Buffer.alloc(JSON_BYTES, `${i} json `), raw: Buffer.alloc(RAW_BYTES, `${i} raw `) }
    const stamp = { ulid: ulids.next(), stream: 's', sequence: i + 1 }
    const item = { kind: 'record', resource: 'r', id: String(i).padStart(3, '0') } as const
    return { ...item, context: NO_CONTEXT, operation: 'insert', before: null, after, stamp }
  })
  const encoded = encodeSegment(frames(list, 1), { stream: 's', level: 0, rowGroupRows: 2 })
  const range = { after: MIN_ULID, through: encoded.info.lastUlid, selection: {} }
  const run = new SegmentRun([partOf((await open(encoded)).reader, {})], range)
  const made = vi.spyOn(Buffer, 'allocUnsafeSlow')
  let at = 0
  for (let isThere = await run.load(); isThere; isThere = run.advance() || (await run.load())) {
    const image = run.image()
    const expected = list[at++]?.after
    expect([image?.json, image?.raw].map((bytes) => Buffer.from(bytes ?? []).toString())).toEqual(
      [expected?.json, expected?.raw].map((bytes) => Buffer.from(bytes ?? []).toString()),
    )
  }
  expect(at).toBe(2 * GROUPS)
  expect(made.mock.calls.filter(([bytes]) => bytes >= 2 * RAW_BYTES)).toHaveLength(2)
  made.mockRestore()
})
