import fc from 'fast-check'
import { expect, test } from 'vitest'
import { segmentKey } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { Event } from '../../src/model/event.ts'
import type { MergedSegment, StreamSegment } from '../../src/model/timeline.ts'
import { MIN_ULID, newUlid } from '../../src/model/ulid.ts'
import { type ReplaySources, replayChanges } from '../../src/restore/replay.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { SegmentRun } from '../../src/restore/segment-run.ts'
import { Segments } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { show } from '../support/arbitrary.ts'
import { events, frames } from '../support/segments.ts'

/** Two segments of a stream, merged into a run of small files. */
async function runOf(store: ObjectStore, list: readonly Event[], fileBytes: number): Promise<readonly MergedSegment[]> {
  const stream = newUlid(1)
  const half = Math.ceil(list.length / 2)
  const units: StreamSegment[][] = []
  let previous = chainStart(stream)
  for (const part of [list.slice(0, half), list.slice(half)]) {
    const { bytes, info } = encodeSegment(frames(part, 1), { stream, level: 0, previous, rowGroupRows: 3 })
    previous = info.chain.value
    const entry = { key: segmentKey({ ...info, nonce: '00000000' }), ...info }
    await store.put(entry.key, bytes)
    units.push([entry])
  }
  const request = { run: newUlid(2), level: 1, erasures: 0, units, memory: 2 ** 30, fileBytes }
  return (await writeRun(store, request, () => {})).files
}

function sourcesOver(store: ObjectStore): ReplaySources {
  const scratch = (): never => {
    throw new Error('the files of a run were merged with each other')
  }
  const [segments, snapshots, nodes] = [new Segments(store), new Snapshots(store), segmentNodes(store)]
  return { store, segments, snapshots, nodes, memory: 1, scratch, open: null }
}

const itemOf = ({ kind, resource, id }: Pick<Event, 'kind' | 'resource' | 'id'>): string =>
  JSON.stringify([kind, resource, id])

test('the files of a run are read one after the other, and give the last state of every item', async () => {
  await fc.assert(
    fc.asyncProperty(
      events('s', 60, 2).filter((list) => list.length > 1),
      fc.integer({ min: 1, max: 3000 }),
      fc.nat(59),
      fc.nat(59),
      fc.infiniteStream(fc.boolean()),
      async (list, fileBytes, from, to, coin) => {
        const store = new MemoryStore()
        const files = await runOf(store, list, fileBytes)
        const after = from === 0 ? MIN_ULID : (list[from % list.length]?.stamp.ulid ?? MIN_ULID)
        const through = list[Math.max(from, to) % list.length]?.stamp.ulid ?? MIN_ULID
        const wanted = files.filter(({ firstUlid, lastUlid }) => lastUlid > after && firstUlid <= through)
        // A plan has them in the order of their stamps, which is any.
        const shuffled = wanted.toSorted(() => (coin.next().value === true ? 1 : -1))
        const last = new Map<string, string>()
        for (const event of list) {
          if (event.stamp.ulid > after && event.stamp.ulid <= through) last.set(itemOf(event), show(event.after))
        }
        const found: string[][] = []
        for await (const batch of replayChanges(sourcesOver(store), shuffled, after, through, {})) {
          for (const one of batch) found.push([itemOf(one), show(one.image)])
        }
        expect(found.length).toBe(new Set(found.map(([item]) => item)).size)
        expect(found.toSorted()).toEqual([...last].toSorted())
      },
    ),
    { numRuns: 60 },
  )
})

test('files whose items are not in order are damage, and no state', async () => {
  const store = new MemoryStore()
  const [list] = fc.sample(
    events('s', 60, 40).filter((some) => new Set(some.map(itemOf)).size > 5),
    1,
  )
  const files = await runOf(store, list ?? [], 1)
  const readers = await Promise.all(files.map((file) => new Segments(store).open(file)))
  const parts = readers.map((reader) => partOf(reader, {}))
  const range = { after: MIN_ULID, through: 'Z'.repeat(26), selection: {} }
  expect(parts.length).toBeGreaterThan(3)
  expect(() => new SegmentRun(parts, range)).not.toThrow()
  expect(() => new SegmentRun(parts.toReversed(), range)).toThrow('its row groups are not in order')
})
