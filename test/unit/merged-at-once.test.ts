import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { NO_CONTEXT } from '../../src/model/event.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { type ReplaySources, replayChanges } from '../../src/restore/replay.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { Segments } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { recordImage } from '../support/model-database.ts'
import { frames } from '../support/segments.ts'

const SEGMENTS = 16
const RECORDS = 500

test('as many segments as the memory takes are merged without a pass, where they read less at once', async () => {
  const store = new MemoryStore()
  const ulids = new UlidGenerator(() => 1, new Uint8Array(8))
  const entries: SegmentEntry[] = []
  const expected = new Map<string, string>()
  let sequence = 0
  for (let n = 0; n < SEGMENTS; n++) {
    const first = sequence + 1
    const events = Array.from({ length: RECORDS }, (_, i) => {
      // What nothing makes shorter: a segment is several times what is read of it at once.
      const after = recordImage({ n, text: randomBytes(3000).toString('base64') })
      const id = `r${String(i).padStart(4, '0')}`
      expected.set(id, Buffer.from(after.json).toString())
      const stamp = { ulid: ulids.next(), stream: 's', sequence: ++sequence }
      return {
        kind: 'record',
        resource: 'r',
        id,
        context: NO_CONTEXT,
        operation: 'insert',
        before: null,
        after,
        stamp,
      } as const
    })
    const { bytes, info } = encodeSegment(frames(events, first), { stream: 's', level: 0, rowGroupRows: 20 })
    const entry = { ...info, key: `segment/${n}` }
    await store.put(entry.key, Uint8Array.from(bytes))
    entries.push(entry)
  }
  const segments = new Segments(store)
  const held = async (windowBytes?: number): Promise<number> => {
    let sum = 0
    const reading = windowBytes === undefined ? {} : { windowBytes }
    for (const entry of entries) sum += partOf(await segments.scan(entry), {}, reading).bytes + 1024
    return sum
  }
  const least = await held(128 * 1024)
  expect(least).toBeLessThan((await held()) * 0.75)
  let passes = 0
  const merged = async (memory: number): Promise<Map<string, string>> => {
    passes = 0
    const scratch = (): MemoryStore => {
      passes++
      return new MemoryStore()
    }
    const nodes = segmentNodes(store)
    const sources: ReplaySources = {
      store,
      segments,
      snapshots: new Snapshots(store),
      nodes,
      memory,
      scratch,
      open: null,
    }
    const found = new Map<string, string>()
    for await (const batch of replayChanges(sources, entries, MIN_ULID, ulids.next(), {}))
      for (const { id, image } of batch) found.set(id, Buffer.from(image?.json ?? []).toString())
    return found
  }
  expect(await merged(Math.ceil(least * 1.1))).toEqual(expected)
  expect(passes).toBe(0)
  expect(await merged(Math.floor(least / 2))).toEqual(expected)
  expect(passes).toBeGreaterThan(0)
})
