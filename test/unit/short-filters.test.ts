import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { compactNow } from '../../src/engine/compaction.ts'
import { buildBloom, isShortFilter, shortFilter } from '../../src/format/segment/bloom.ts'
import { areSegments } from '../../src/format/timeline-shape.ts'
import type { Item } from '../../src/model/event.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { findEvents, findVersion } from '../../src/restore/lookup.ts'
import { planRestore } from '../../src/restore/plan.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { checkEvents } from '../../src/upkeep/segment-check.ts'
import { ALL_TOLD, openReader } from '../support/capture-rig.ts'
import { allSegments } from '../support/catalogue.ts'
import { segment } from '../support/many-segments.ts'
import { fillHour } from '../support/merged-world.ts'
import { keyOf } from '../support/model-database.ts'
import { itemOf, RECORDS, World } from '../support/reach-world.ts'
import { CountingStore } from '../support/stores.ts'

let directory = ''
let world: World
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'filters-'))
  world = new World(directory, Date.UTC(2026, 10, 21))
  await world.fill()
  await fillHour(world)
})
afterEach(async () => {
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

const HOUR = 3_600_000
const NOBODY: Item = { kind: 'record', resource: 'r', id: 'nobody' }

async function segmentsNow(): Promise<readonly SegmentEntry[]> {
  return allSegments(world.store, (await TimelineLog.open(world.store)).timeline)
}

/** The stamps of an item, and how many files of segments were asked for them, by a process that knows nothing. */
async function lookUp(segments: readonly SegmentEntry[], item: Item): Promise<{ stamps: string[]; files: number }> {
  const store = new CountingStore(world.store)
  const { archive } = await openReader(store, world.clock, undefined, async () => ALL_TOLD)
  store.reset()
  const stamps: string[] = []
  for await (const { stamp } of findEvents(archive.sources, segments, item)) stamps.push(stamp.ulid)
  return { stamps, files: new Set(store.log.filter((call) => call.includes('segment/'))).size }
}

function withoutFilter(entry: SegmentEntry): SegmentEntry {
  const { filter: _, ...rest } = entry
  return rest
}

test('files that the catalogue says an item is not in are not asked, merged or not; the same is found without its filters', async () => {
  for (const isMerged of [false, true]) {
    if (isMerged)
      await compactNow((await openReader(world.store, world.clock, undefined, async () => ALL_TOLD)).archive, {})
    const segments = await segmentsNow()
    expect(segments.some((entry) => 'run' in entry)).toBe(isMerged)
    expect(segments.every(({ filter }) => isShortFilter(filter, LIMITS.filterBytes))).toBe(true)
    expect(await lookUp(segments, NOBODY)).toEqual({ stamps: [], files: 0 })
    let [asked, found] = [0, 0]
    for (let n = 0; n < RECORDS; n++) {
      const told = await lookUp(segments, itemOf(n))
      const plain = await lookUp(segments.map(withoutFilter), itemOf(n))
      expect(told.stamps).toEqual(plain.stamps)
      expect(told.files).toBeLessThanOrEqual(plain.files)
      asked += plain.files - told.files
      found += told.stamps.length
    }
    expect(found).toBeGreaterThan(20)
    if (!isMerged) expect(asked).toBeGreaterThan(20)
  }
})

test('what was asked ahead and is older than what was found is not read', async () => {
  for (let hour = 0; hour < 3; hour++) {
    for (const writer of [...world.writers]) await world.stop(writer)
    world.pass(HOUR)
    await fillHour(world)
  }
  const opened = (store: ObjectStore) => openReader(store, world.clock, undefined, async () => ALL_TOLD)
  await compactNow((await opened(world.store)).archive, {})
  const merged = (await segmentsNow()).flatMap((entry) => ('run' in entry ? [entry] : []))
  expect(new Set(merged.map(({ run }) => run.key)).size).toBeGreaterThan(2)
  let [inMany, read] = [0, 0]
  for (let n = 0; n < RECORDS; n++) {
    const item = itemOf(n)
    const stamps = world.written.filter(({ key }) => key === keyOf(item)).map(({ ulid }) => ulid)
    const store = new CountingStore(world.store)
    const { archive, timeline } = await opened(store)
    const plan = await planRestore(archive.sources.nodes, timeline.timeline, world.written.at(-1)?.ulid ?? '')
    store.reset()
    const version = await findVersion(archive.sources, { ...plan, segments: plan.segments.map(withoutFilter) }, item)
    expect(version?.ulid).toBe(stamps.at(-1))
    const rows = store.log.filter((call) => merged.some(({ key }) => call.endsWith(key))).length
    expect(rows).toBeLessThanOrEqual(1)
    read += rows
    if ((await Promise.all(merged.map((one) => lookUp([one], item)))).filter((one) => one.stamps.length > 0).length > 1)
      inMany++
  }
  expect(inMany).toBeGreaterThan(2)
  expect(read).toBeGreaterThan(2)
})

test('a filter that is not the one of the file is damage', async () => {
  const { archive } = await openReader(world.store, world.clock)
  const [first] = (await segmentsNow()).filter((entry) => 'stream' in entry)
  if (first === undefined || !('stream' in first)) throw new Error('there is no segment')
  const reader = await archive.sources.segments.open(first)
  expect(await checkEvents(reader, first)).toBe(first.events)
  const { filter: _, ...plain } = first
  expect(await checkEvents(reader, plain)).toBe(first.events)
  const other = Buffer.alloc(32).toString('base64')
  await expect(checkEvents(reader, { ...first, filter: other })).rejects.toMatchObject({
    code: 'OBJECT_CORRUPT',
    message: expect.stringContaining('its filter'),
  })
})

test('a filter is told up to its limit, of runs up to another, and nothing else is taken for one', () => {
  const hashes = (count: number): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i * 2654435761)
  const { filterBytes, runFilterBytes } = LIMITS
  for (const [most, counts] of [
    [filterBytes, [1, 20, 21, 22, 600, 682]],
    [runFilterBytes, [1, 682, 683, 1000, 1365]],
  ] as const) {
    for (const count of counts) {
      const bloom = buildBloom(hashes(count))
      expect(bloom.length).toBeLessThanOrEqual(most)
      const told = shortFilter(bloom, most)
      expect(isShortFilter(told, most)).toBe(true)
      expect(Buffer.from(told ?? '', 'base64')).toEqual(Buffer.from(bloom))
    }
    const tooLong = buildBloom(hashes((counts.at(-1) ?? 0) + 1))
    expect(shortFilter(tooLong, most)).toBeUndefined()
    const whole = Buffer.alloc(32).toString('base64')
    for (const value of [
      undefined,
      null,
      7,
      '',
      'AA==',
      whole.slice(1),
      `${whole}\n`,
      whole.replace('=', ''),
      Buffer.from(tooLong).toString('base64'),
    ])
      expect(isShortFilter(value, most)).toBe(false)
  }
})

test('the catalogue takes the filter of a run that is longer than one of a segment may be, and none that is longer still', () => {
  const sealed = segment(0)
  const { firstUlid, lastUlid, sha256, footer } = sealed
  const at = `segment/${firstUlid}/02/`
  const index = { key: `${at}index-0123abcd.bin`, bytes: 4096, sha256, rowGroups: 1 }
  const run = { key: `${at}chain-0123abcd.json.gz`, bytes: 500, sha256, index }
  const merged = { key: `${at}0000-0123abcd.parquet`, level: 2, run, firstUlid, lastUlid, events: 9, bytes: 900 }
  const filter = (bytes: number): string => Buffer.alloc(bytes, 1).toString('base64')
  for (const [entry, most] of [
    [sealed, LIMITS.filterBytes],
    [{ ...merged, sha256, footer }, LIMITS.runFilterBytes],
  ] as const) {
    expect(areSegments([entry])).toBe(true)
    expect(areSegments([{ ...entry, filter: filter(most) }])).toBe(true)
    expect(areSegments([{ ...entry, filter: filter(most + 32) }])).toBe(false)
  }
})
