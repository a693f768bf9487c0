import { expect, test } from 'vitest'
import { timelineKey } from '../../src/format/keys.ts'
import { sealJson, unsealJson } from '../../src/format/sealed-json.ts'
import type { MergedSegment } from '../../src/model/timeline.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { allSegments } from '../support/catalogue.ts'
import { STREAM, segment, segments, streamOf } from '../support/many-segments.ts'

/** The files of a run with the events of some segments. */
function runOf(name: string, files: number): MergedSegment[] {
  const { firstUlid, lastUlid, footer, sha256 } = segment(0)
  const at = `segment/${STREAM}/01/`
  const index = { key: `${at}index-${name}.bin`, bytes: 4096, sha256, rowGroups: files }
  const run = { key: `${at}chain-${name}.json.gz`, bytes: 500, sha256, index }
  return Array.from({ length: files }, (_, file) => ({
    ...{ key: `${at}${String(file).padStart(4, '0')}-${name}.parquet`, level: 1, run, firstUlid, lastUlid },
    ...{ events: 10, bytes: 3000, sha256, footer },
  }))
}

test('what all files of a run have stands once in a list, in roots and in nodes, and every entry has it', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ putStreams: [streamOf(3)], addSegments: segments(3) }))
  const by = [...runOf('0000000a', 300), ...runOf('0000000b', 9)]
  // Others in between, and of another run with the same chain file: nothing is taken for something else.
  const [one] = runOf('0000000a', 1)
  if (one === undefined) throw new Error('there is a file')
  const odd = { ...one, key: one.key.replace('0000-', '0099-'), run: { ...one.run, bytes: 501 } }
  const all = [...by.slice(0, 305), odd, ...by.slice(305)]
  await log.commit(() => ({ merge: { replaced: [segment(1).key], by: all } }))
  const { timeline } = await TimelineLog.open(store)
  const read = await allSegments(store, timeline)
  expect(read.filter((entry) => 'run' in entry).sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual(
    all.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
  )
  let [lists, runs] = [0, 0]
  for await (const { key } of store.list('node/')) {
    lists++
    const bytes = Buffer.from(await store.get(key))
    runs += bytes.toString().split('"rowGroups"').length - 1
    // Full is what is full as it stands there.
    expect(bytes.length).toBeGreaterThan(16 * 1024)
  }
  expect(lists).toBeGreaterThan(1)
  expect(runs).toBeLessThanOrEqual(2 * lists + 1)
})

test('an entry of a run that no other before it has is refused', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ putStreams: [streamOf(1)], addSegments: segments(1) }))
  await log.commit(() => ({ merge: { replaced: [segment(0).key], by: runOf('0000000a', 3) } }))
  const key = timelineKey(2)
  const { sha256: _, ...members } = unsealJson(await store.get(key)) ?? {}
  const text = JSON.stringify(members)
  const broken = text.replace(/"run":"([^"]+)0000000a/, '"run":"$10000000f')
  expect(broken).not.toBe(text)
  await store.delete([key])
  await store.put(key, sealJson(JSON.parse(broken)))
  await expect(TimelineLog.open(store)).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT' })
})
