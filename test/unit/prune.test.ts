import { afterEach, expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { segmentKey, snapshotPrefix, timelineKey } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { formatHead, parseHead } from '../../src/model/head.ts'
import type { Timeline } from '../../src/model/timeline.ts'
import { firstUlidAt, lastUlidAt, MIN_ULID } from '../../src/model/ulid.ts'
import { gapsOf, startOf } from '../../src/restore/gaps.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachSegment } from '../../src/timeline/segments.ts'
import { checkHead } from '../../src/upkeep/head.ts'
import { planRepair } from '../../src/upkeep/repair.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { ChainEnds } from '../../src/upkeep/verify/chain-ends.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { openReader } from '../support/capture-rig.ts'
import { jsonLines } from '../support/cli.ts'
import { inProcess } from '../support/in-process.ts'
import { BEGIN, DAY, HOUR, KeptHistory } from '../support/kept-history.ts'
import { LockedStore as PerKeyStore } from '../support/locked-store.ts'
import { recordImage } from '../support/model-database.ts'

let history = new KeptHistory()
afterEach(() => history.end())

async function begun(days: number): Promise<KeptHistory> {
  history = new KeptHistory()
  await history.begin()
  await history.days(0, days - 1)
  return history
}

/** What is wrong with the store. Nodes of the catalogue go with the generations that named them. */
async function soundness(): Promise<readonly string[]> {
  const { damage, unreferenced } = await history.tidemark.verify()
  return [
    ...damage.map(({ key, message }) => `${key}: ${message}`),
    ...unreferenced.filter((key) => !key.startsWith('node/')),
  ]
}

const at = (day: number, hour: number): number => BEGIN + day * DAY + hour * HOUR

test('a window keeps every moment in it, what is before says what took it, and the store is smaller', async () => {
  const { tidemark } = await begun(10)
  const policy = { window: '3d' }
  const before = await history.keys()
  const preview = await tidemark.retention.prune({ policy })
  expect(preview.swept).toBeNull()
  expect(preview.plan.segments.length).toBeGreaterThan(20)
  expect(await history.keys()).toEqual(before)
  expect(await history.shown(at(1, 4))).toBe(history.expected(at(1, 4)))
  const { plan, swept } = await tidemark.retention.prune({ policy, confirm: true })
  expect(plan.segments.map(({ key }) => key).sort()).toEqual(preview.plan.segments.map(({ key }) => key).sort())
  expect(swept).toMatchObject({ files: 0, waiting: { entries: plan.segments.length + plan.snapshots.length } })
  // Newest event: day 9, 21:00. The window begins at day 6, 21:00, and the snapshot before it is of day 5.
  for (const [day, hour] of [
    [6, 21],
    [7, 2],
    [7, 4],
    [9, 20],
    [9, 21],
  ] as const)
    expect(await history.shown(at(day, hour)), `${day} ${hour}`).toBe(history.expected(at(day, hour)))
  expect(await history.shown(at(5, 20))).toMatchObject({
    code: 'MOMENT_UNREACHABLE',
    message: expect.stringMatching(/was pruned on 2026-01-10T\S+ by window 3d/),
    hint: expect.stringContaining('2026-01-06T21:'),
  })
  expect(await history.shown(at(0, 1))).toMatchObject({ message: expect.stringContaining('was pruned on') })
  expect(await soundness()).toEqual([])
  expect(await tidemark.gaps()).toEqual([])
  expect((await tidemark.status()).streams[0]?.base).toMatchObject({ sequence: expect.any(Number) })
  expect((await tidemark.drill({ count: 4, seed: 3 })).map(({ passed }) => passed)).toEqual([true, true, true, true])
  // The files go when the grace is over, and nothing else.
  const held = await history.keys()
  history.clock.set(at(10, 1))
  expect((await tidemark.retention.prune({ policy, confirm: true })).swept).toMatchObject({ files: 0 })
  // By one clock a day has gone by: it may have been set. By two looks it has.
  history.clock.set(at(11, 1))
  expect((await tidemark.retention.prune({ policy, confirm: true })).swept).toMatchObject({ files: 0 })
  history.clock.set(at(12, 1))
  const last = await tidemark.retention.prune({ policy, confirm: true })
  expect(last.swept).toMatchObject({ refused: [], waiting: { entries: 0 } })
  const left = await history.keys()
  const gone = held.filter((key) => !left.includes(key))
  const named = [...plan.segments.map(({ key }) => key), ...plan.snapshots.map(({ prefix }) => prefix)]
  expect(gone.every((key) => named.some((name) => key.startsWith(name)))).toBe(true)
  expect(gone.filter((key) => key.startsWith('segment/'))).toHaveLength(plan.segments.length)
  expect(await soundness()).toEqual([])
  expect(await history.shown(at(7, 4))).toBe(history.expected(at(7, 4)))
})

test('a pruning a day is one range of what is gone, and its message says since when', async () => {
  const { tidemark } = await begun(4)
  const policy = { policy: { window: '1d' }, confirm: true }
  for (let day = 4; day < 10; day++) {
    await history.days(day, day)
    await tidemark.retention.prune(policy)
  }
  const ranges = await tidemark.retention.pruned()
  expect(ranges).toHaveLength(1)
  expect(await history.shown(at(2, 4))).toMatchObject({
    code: 'MOMENT_UNREACHABLE',
    message: expect.stringMatching(
      /was pruned on 2026-01-10T\S+ by window 1d, or by an earlier pruning since 2026-01-05T/,
    ),
  })
  // Of another policy it is another range, which touches.
  await history.days(10, 12)
  await tidemark.retention.prune({ policy: { window: '36h' }, confirm: true })
  expect((await tidemark.retention.pruned()).map(({ by }) => by)).toEqual(['window 1d', 'window 36h'])
  expect(await soundness()).toEqual([])
  for (const hour of [4, 10, 20]) expect(await history.shown(at(12, hour))).toBe(history.expected(at(12, hour)))
})

test('marks, held ranges and snapshots by calendar outlive the window, and go when nobody wants them', async () => {
  const { tidemark } = await begun(12)
  await tidemark.retention.mark('release', { at: at(2, 10) })
  const hold = await tidemark.retention.hold({ from: at(4, 8), through: at(5, 4), reason: 'case 4' })
  const policy = { window: '2d', gfs: { daily: 5 } }
  await tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  history.clock.set(at(12, 1))
  await tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  expect(await history.shown('release')).toBe(history.expected(at(2, 10)))
  for (const [day, hour] of [
    [4, 8],
    [4, 10],
    [4, 23],
    [5, 4],
  ] as const)
    expect(await history.shown(at(day, hour)), `${day} ${hour}`).toBe(history.expected(at(day, hour)))
  for (const moment of [at(1, 1), at(3, 20), at(6, 4)])
    expect(await history.shown(moment)).toMatchObject({ message: expect.stringContaining('pruned') })
  const { snapshots, reachable } = await tidemark.status()
  const daily = snapshots.find(({ time }) => time.startsWith('2026-01-08T21'))
  expect(await history.shown(daily?.ulid ?? '')).toBe(history.expected(at(7, 22)))
  // The mark, the hold, and one day; the window rests on the snapshot of the day before it begins.
  expect(reachable.islands).toHaveLength(3)
  for (const { from, to } of reachable.islands) {
    for (const moment of [from, to])
      expect(await history.shown(moment), moment).toBe(history.expected(Date.parse(moment)))
    const behind = new Date(Date.parse(to) + 1).toISOString()
    expect(await history.shown(behind), behind).toMatchObject({ code: 'MOMENT_UNREACHABLE' })
  }
  expect(reachable.earliest?.slice(0, 13)).toBe('2026-01-09T21')
  expect((await tidemark.drill({ at: 'release' }))[0]).toMatchObject({ passed: true })
  // Its snapshot is the first of the window, and the one before it is alone.
  expect((await tidemark.drill({ at: at(8, 22) }))[0]).toMatchObject({ passed: true })
  expect((await tidemark.drill({ count: 5, seed: 1 })).every(({ passed }) => passed)).toBe(true)
  expect(await soundness()).toEqual([])
  const keys = (await history.keys()).length
  await tidemark.retention.unmark('release')
  await tidemark.retention.release(hold.id)
  await tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  history.clock.set(at(12, 2))
  await tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  expect((await history.keys()).length).toBeLessThan(keys)
  expect(await history.shown(at(2, 10))).toMatchObject({ message: expect.stringContaining('pruned') })
  await expect(tidemark.retention.mark('late', { at: at(2, 10) })).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
})

test('a clock that has jumped, a stopped capture and a policy for less than there is leave the end as it was', async () => {
  const { tidemark } = await begun(6)
  for (const jump of [4000 * DAY, -4000 * DAY, 400 * DAY]) {
    history.clock.set(at(6, 0) + jump)
    await tidemark.retention.prune({ policy: { window: '2d' }, confirm: true, grace: '0ms' })
    history.clock.set(at(6, 1))
    for (const hour of [4, 10, 16, 21.5])
      expect(await history.shown(at(5, hour)), `${jump} ${hour}`).toBe(history.expected(at(5, hour)))
  }
  await tidemark.retention.prune({ policy: { maxAge: '1s' }, confirm: true })
  expect(await history.shown('latest')).toBe(history.expected(at(6, 0)))
  expect((await tidemark.status()).snapshots).toHaveLength(1)
})

/** From the second day on a stream of another machine, which nobody can ask, may hold events. Returns what closes it. */
async function stalled(): Promise<() => Promise<unknown>> {
  const log = await TimelineLog.open(history.objects)
  const [own] = log.timeline.streams
  if (own === undefined) throw new Error('nobody writes')
  const { door: _, sealed: __, ...rest } = own
  const id = firstUlidAt(at(1, 8))
  const elsewhere = { ...rest, id, openedAt: id, sealedThrough: id, host: 'elsewhere', boot: 'elsewhere' }
  const entry = {
    ...elsewhere,
    ...{ lastSequence: 0, lastUlid: MIN_ULID, chain: chainStart(id), owner: '0123456789abcdef' },
  }
  await log.commit(() => ({ putStreams: [entry] }))
  return () => log.commit(() => ({ putStreams: [{ ...entry, state: 'closed' }] }))
}

/** A snapshot of what the live database holds: a state only once that stream has been asked. */
async function snapshotAt(ms: number): Promise<void> {
  const ulid = lastUlidAt(ms)
  const prefix = snapshotPrefix(ulid)
  const writer = new SnapshotWriter({ store: history.objects, prefix, ulid, database: 'x' })
  await writer.add([{ kind: 'record', resource: 'r', id: 'one', image: recordImage({ n: history.expected(ms) }) }])
  const entry = { ulid, consistentFrom: ulid, prefix, ...(await writer.finish()) }
  const { archive, timeline } = await openReader(history.objects, history.clock)
  await timeline.commit(() => ({ addSnapshots: [entry] }))
  archive.close()
}

test('what can be restored while a stream is stalled stays, however old it is', async () => {
  await begun(2)
  await stalled()
  for (const hour of [10, 15, 21]) await history.write(at(5, hour))
  await snapshotAt(at(5, 22))
  history.clock.set(at(6, 0))
  const { tidemark } = history
  expect(await history.shown(at(1, 4))).toBe(history.expected(at(1, 4)))
  const last = history.expected(at(1, 4))
  const { plan } = await tidemark.retention.prune({ policy: { window: '2h' }, confirm: true, grace: '0ms' })
  expect(plan.segments.length).toBeGreaterThan(0)
  expect(plan.kept.map(({ why }) => why)).toContainEqual(['last reachable'])
  expect((await tidemark.status()).reachable.latest?.slice(0, 13)).toBe('2026-01-02T07')
  expect(await history.shown((await tidemark.status()).reachable.latest ?? '')).toBe(last)
})

test('what goes that is behind a stalled stream is told to be pruned when that is over, up to the snapshot that stays', async () => {
  await begun(2)
  const close = await stalled()
  for (const hour of [10, 13]) await history.write(at(5, hour))
  await snapshotAt(at(5, 16))
  await history.write(at(5, 21))
  history.clock.set(at(6, 0))
  const { tidemark } = history
  const { plan } = await tidemark.retention.prune({ policy: { window: '2h' }, confirm: true, grace: '0ms' })
  const gone = plan.segments.map(({ lastUlid }) => lastUlid).filter((ulid) => ulid > firstUlidAt(at(5, 0)))
  expect(gone.length).toBeGreaterThan(0)
  await close()
  // Between the events that went, and behind the last of them.
  for (const moment of [at(5, 12), at(5, 15)]) {
    const refused = { code: 'MOMENT_UNREACHABLE', message: expect.stringContaining('was pruned on') }
    expect(await tidemark.reachable(moment)).toMatchObject({ verdict: 'no', reason: refused })
    expect(await history.shown(moment)).toMatchObject(refused)
  }
  expect((await tidemark.reachable(at(5, 17))).verdict).toBe('yes')
  expect(await history.shown(at(5, 17))).toBe(history.expected(at(5, 17)))
})

test('a snapshot that does not read back bears nothing: what it would replace stays, and it is named', async () => {
  const { tidemark } = await begun(8)
  const { plan } = await tidemark.retention.prune({ policy: { window: '2d' } })
  const base = plan.kept[0]?.snapshot
  const prefix = base?.prefix ?? ''
  const key = (await history.keys()).find((one) => one.startsWith(prefix) && one.endsWith('r.jsonl.gz')) ?? ''
  const bytes = await history.objects.get(key)
  bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1
  await history.objects.put(key, bytes)
  const report = await tidemark.retention.prune({ policy: { window: '2d' }, confirm: true, grace: '0ms' })
  expect(report.damage).toMatchObject([{ key, code: expect.stringContaining('CORRUPT') }])
  const earlier = report.plan.kept[0]?.snapshot
  expect(earlier?.ulid ?? 'none').toMatch(/^01/)
  expect((earlier?.ulid ?? '') < (base?.ulid ?? '')).toBe(true)
  expect((await tidemark.status()).snapshots.map(({ ulid }) => ulid)).toContain(base?.ulid)
  expect(report.plan.segments.filter(({ lastUlid }) => lastUlid > (earlier?.ulid ?? ''))).toEqual([])
})

test('the option retention prunes by itself, and one that is wrong is refused before anything is opened', async () => {
  history = new KeptHistory()
  await history.begin({ retention: { window: '2d', everyMs: 12_345, grace: '0ms' } })
  await history.days(0, 5)
  expect((await history.tidemark.status()).snapshots.length).toBeGreaterThan(5)
  for (let i = 0; i < 200 && (await history.tidemark.retention.pruned()).length === 0; i++) {
    history.clock.ring(12_345)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  expect(await history.shown(at(1, 4))).toMatchObject({ message: expect.stringContaining('by window 2d') })
  expect(await history.shown(at(4, 4))).toBe(history.expected(at(4, 4)))
  for (const retention of [
    {},
    { window: '30' },
    { window: '0d' },
    { count: 0 },
    { gfs: { daily: 1.5 } },
    { gfs: { daily: 1, timeZone: 'Mars/Base' } },
    { gfs: Object.assign({ daily: 1 }, { hours: 1 }) },
    { window: '1d', everyMs: 0 },
    { window: '1d', grace: 'soon' },
  ])
    await expect(new KeptHistory().begin({ retention })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
})

/** As under an object lock, until that ends. */
class LockedStore extends MemoryStore {
  isLocked = true

  override async delete(keys: readonly string[]): Promise<void> {
    if (this.isLocked && keys.some((key) => /^(segment|snapshot)\//.test(key)))
      throw new TidemarkError('STORE_DENIED', 'The object is locked.', { hint: 'Wait.' })
    await super.delete(keys)
  }
}

test('one file that is locked holds up no other, is named with the end of its lock, and is tried again', async () => {
  const objects = new PerKeyStore()
  history = new KeptHistory(objects)
  await history.begin()
  await history.days(0, 6)
  const options = { policy: { window: '1d' }, confirm: true, grace: '0ms' }
  const { plan } = await history.tidemark.retention.prune({ ...options, grace: '1h' })
  const [segment] = plan.segments
  const file = (await history.keys()).find((key) => key.startsWith(plan.snapshots[0]?.prefix ?? '-')) ?? ''
  const until = '2031-01-01T00:00:00.000Z'
  for (const key of [segment?.key ?? '', file]) objects.locks.set(key, until)
  history.clock.set(at(7, 0))
  const before = await history.keys()
  const { swept } = await history.tidemark.retention.prune(options)
  expect(swept?.refused.map(({ key }) => key).sort()).toEqual([segment?.key, file].sort())
  expect(swept?.refused.map((one) => one.until)).toEqual([until, until])
  const left = await history.keys()
  const gone = before.filter((key) => !left.includes(key))
  for (const { key } of plan.segments) expect(gone.includes(key), key).toBe(key !== segment?.key)
  expect(gone.filter((key) => key.startsWith('snapshot/')).length).toBeGreaterThan(3)
  expect(swept?.files).toBe(gone.filter((key) => !key.startsWith('node/')).length)
  objects.asked.length = 0
  const again = await history.tidemark.retention.prune(options)
  expect(again.swept?.refused.map(({ key }) => key).sort()).toEqual([segment?.key, file].sort())
  // What went with the first is not asked for again, but for the files of a snapshot that is still there.
  expect(objects.asked.sort()).toEqual([segment?.key, file].sort())
  expect(await soundness()).toEqual([])
  objects.locks.clear()
  expect((await history.tidemark.retention.prune(options)).swept).toMatchObject({ refused: [], files: 2 })
  expect(await soundness()).toEqual([])
})

test('what the store does not let go is told and tried again, and stops nothing', async () => {
  const objects = new LockedStore()
  history = new KeptHistory(objects)
  await history.begin()
  await history.days(0, 4)
  const options = { policy: { window: '1d' }, confirm: true, grace: '0ms' }
  await history.tidemark.retention.prune(options)
  history.clock.set(at(5, 0))
  const { swept } = await history.tidemark.retention.prune(options)
  expect(swept?.refused.length).toBeGreaterThan(5)
  expect(swept?.refused[0]?.message).toContain('locked')
  const before = (await history.keys()).length
  await history.write(at(5, 1))
  expect(await soundness()).toEqual([])
  objects.isLocked = false
  expect((await history.tidemark.retention.prune(options)).swept).toMatchObject({ refused: [] })
  expect((await history.keys()).length).toBeLessThan(before)
  expect(await soundness()).toEqual([])
})

test('tidemark prune shows what goes and does nothing without --confirm', async () => {
  await begun(6)
  const store = { url: 'own://store', objects: history.objects }
  const before = await history.keys()
  const shown = await inProcess(store, 'prune', '--window', '2d', '--daily', '5')
  expect(shown, shown.err).toMatchObject({ code: 0 })
  expect(shown.out).toMatch(/moments that become unreachable\n {2}2026-01-01T\S+ to 2026-01-0/)
  expect(shown.out).toMatch(/\d snapshots and \d+ segments go, [\d.]+ KiB\n {2}snapshot\//)
  expect(shown.out).toContain('nothing was changed')
  expect(await history.keys()).toEqual(before)
  const [plan] = jsonLines((await inProcess(store, 'prune', '--window', '2d', '--daily', '5', '--json')).out)
  expect(plan).toMatchObject({ swept: null, damage: [], bytes: expect.any(Number) })
  const done = await inProcess(store, 'prune', '--window', '2d', '--daily', '5', '--confirm')
  expect(done).toMatchObject({ code: 0, out: expect.stringContaining('taken out of the history') })
  const log = await inProcess(store, 'log', 'r/one')
  expect(log.err).toContain('were pruned in part (window 2d, daily 5 (UTC))')
  expect((await inProcess(store, 'prune', '--window', '2d', '--daily', '5')).out).toContain('nothing goes')
  expect(await inProcess(store, 'prune')).toMatchObject({
    code: 2,
    err: expect.stringContaining('was not told what has to stay'),
  })
  expect(await inProcess(store, 'prune', '--daily', '0')).toMatchObject({ code: 2 })
  expect((await inProcess(store, 'status')).out).toMatch(/and before +2026-01/)
})

test('a segment that does not go on from where the stream was pruned is damage', async () => {
  const { tidemark } = await begun(4)
  await tidemark.retention.prune({ policy: { window: '1d' }, confirm: true })
  const timeline = await TimelineLog.open(history.objects)
  const of = async (chain: string): Promise<readonly string[]> => {
    const { streams } = timeline.timeline
    const based = streams.map((stream) => ({ ...stream, base: { sequence: 0, ulid: '', ...stream.base, chain } }))
    const inspection = new Inspection(history.objects, () => {})
    const chains = new ChainEnds(inspection, { ...timeline.timeline, streams: based })
    for await (const segment of eachSegment(timeline.nodes.segments, timeline.timeline.segments))
      if (!('run' in segment)) chains.add(segment.key, segment)
    chains.end(true)
    return inspection.damage.map(({ message }) => message)
  }
  expect(await of(timeline.timeline.streams[0]?.base?.chain ?? '')).toEqual([])
  expect(await of('0'.repeat(64))).toEqual([expect.stringContaining('do not follow')])
})

test('a head that was noted before what was pruned holds, and one of another store does not', async () => {
  const { tidemark } = await begun(2)
  const heads = [formatHead(await tidemark.head())]
  await history.days(2, 5)
  heads.push(formatHead(await tidemark.head()))
  await tidemark.retention.prune({ policy: { window: '2d' }, confirm: true, grace: '0ms' })
  heads.push(formatHead(await tidemark.head()))
  for (const head of heads) expect((await tidemark.verify({ head })).damage).toEqual([])
  const [first = ''] = heads
  const other = `${first.slice(0, -1)}${first.endsWith('0') ? '1' : '0'}`
  expect((await tidemark.verify({ head: other })).damage).not.toEqual([])
  // Without the range in which it was, it has not gone on from there.
  const { timeline } = await TimelineLog.open(history.objects)
  const noted = parseHead(first)
  await expect(checkHead(history.objects, { ...timeline, pruned: [] }, noted)).rejects.toThrow('does not go on')
  await checkHead(history.objects, timeline, noted)
})

test('files that an attempt left go after the grace, and what may still be committed does not', async () => {
  const { tidemark } = await begun(3)
  const { streams } = await tidemark.status()
  const own = streams[0]?.id ?? ''
  const left = [
    segmentKey({ stream: own, level: 0, firstSequence: 1, lastSequence: 2, nonce: 'aaaaaaaa' }),
    `${snapshotPrefix(own, 'aaaaaaaa')}r.jsonl.gz`,
  ]
  const coming = [
    segmentKey({ stream: own, level: 0, firstSequence: 500, lastSequence: 501, nonce: 'aaaaaaaa' }),
    segmentKey({
      stream: `${own.slice(0, 25)}${own.endsWith('Z') ? 'Y' : 'Z'}`,
      level: 0,
      firstSequence: 1,
      lastSequence: 2,
      nonce: 'aaaaaaaa',
    }),
  ]
  for (const key of [...left, ...coming]) await history.objects.put(key, new Uint8Array(10))
  const options = { policy: { window: '30d' }, confirm: true, grace: '6h' }
  const there = async (): Promise<readonly string[]> => {
    const keys = await history.keys()
    return [...left, ...coming].filter((key) => keys.includes(key))
  }
  expect((await tidemark.retention.prune(options)).swept?.waiting).toMatchObject({ entries: 2, bytes: 20 })
  history.clock.set(at(3, 1))
  await tidemark.retention.prune(options)
  expect(await there()).toEqual([...left, ...coming])
  history.clock.set(at(3, 4))
  expect((await tidemark.retention.prune(options)).swept).toMatchObject({ files: 0 })
  history.clock.set(at(3, 7))
  expect((await tidemark.retention.prune(options)).swept).toMatchObject({ files: 2, bytes: 20 })
  expect(await there()).toEqual(coming)
})

test('a snapshot that a pruning took for left over is not committed', async () => {
  const { tidemark } = await begun(2)
  await history.write(at(2, 1))
  const { timeline, archive } = await openReader(history.objects, history.clock)
  const { plan } = await archive.reachLast()
  let isFirst = true
  const store: ObjectStore = {
    put: async (key, body, options) => {
      await history.objects.put(key, body, options)
      // Everything but the commit is done.
      if (!isFirst || !key.endsWith('s3db.json')) return
      isFirst = false
      await tidemark.retention.prune({ policy: { window: '30d' }, confirm: true, grace: '0ms' })
    },
    get: (key, range) => history.objects.get(key, range),
    head: (key) => history.objects.head(key),
    list: (prefix, options) => history.objects.list(prefix, options),
    delete: (keys) => history.objects.delete(keys),
  }
  const sources = { ...archive.sources, store }
  await expect(takeSnapshot(sources, timeline, plan, 'model://test')).rejects.toMatchObject({ code: 'ERASURE_RACED' })
  expect(isFirst).toBe(false)
  expect(await history.shown('latest')).toBe(history.expected(at(2, 2)))
  expect(await soundness()).toEqual([])
})

test('files stay for the grace whatever the clock of one who prunes shows, and are not kept for years', async () => {
  for (const [condemnedAt, lookedAt] of [
    [at(3, 0), at(6, 1)],
    [at(6, 1), at(900, 0)],
    [at(900, 0), at(6, 1)],
  ] as const) {
    await history.end()
    const { tidemark } = await begun(6)
    const options = { policy: { count: 1 }, confirm: true }
    history.clock.set(condemnedAt)
    const { waiting } = (await tidemark.retention.prune(options)).swept ?? {}
    expect(waiting?.entries).toBeGreaterThan(5)
    history.clock.set(lookedAt)
    const { swept } = await tidemark.retention.prune(options)
    expect(swept).toMatchObject({ files: 0, waiting: { anew: lookedAt < condemnedAt ? waiting?.entries : 0 } })
    history.clock.set(at(6, 2))
    expect((await tidemark.retention.prune(options)).swept).toMatchObject({ files: 0 })
    for (const day of [7, 8, 9]) {
      history.clock.set(at(day, 3))
      await tidemark.retention.prune(options)
    }
    expect((await tidemark.retention.prune(options)).swept).toMatchObject({ files: 0, waiting: { entries: 0 } })
  }
})

test('a repair enters nothing again that was pruned, and makes no gap of it', async () => {
  const { tidemark } = await begun(6)
  await tidemark.retention.prune({ policy: { window: '2d' }, confirm: true })
  const { key, pruned } = await latestRoot()
  // One commit more, whose file is then damaged: what was pruned is in the one before.
  await history.write(at(6, 1))
  const damaged = (await latestRoot()).key
  expect(damaged > key).toBe(true)
  await history.objects.put(damaged, new Uint8Array(10))
  const plan = await planRepair(history.objects, () => {})
  expect(plan.isNeeded).toBe(true)
  expect(plan.timeline.pruned).toEqual(pruned)
  expect(plan.entered.every((name) => !(plan.timeline.condemned ?? []).some((gone) => gone.key === name))).toBe(true)
  expect(gapsOf(plan.timeline)).toEqual([])
  expect(startOf(plan.timeline, lastUlidAt(at(5, 4)))).not.toBeNull()
  expect(startOf(plan.timeline, lastUlidAt(at(1, 4)))).toBeNull()
})

test('who is reading has the grace to end, and is told what to do where it was over', async () => {
  const { tidemark } = await begun(6)
  const view = tidemark.at(at(1, 4))
  expect(await view.count('r')).toBe(1)
  const options = { policy: { window: '2d' }, confirm: true }
  await tidemark.retention.prune(options)
  history.clock.set(at(6, 1))
  await tidemark.retention.prune(options)
  expect(await view.count('r')).toBe(1)
  for (const day of [7, 8]) {
    history.clock.set(at(day, 2))
    await tidemark.retention.prune(options)
  }
  await expect(view.count('r')).rejects.toMatchObject({
    code: 'OBJECT_NOT_FOUND',
    message: expect.stringContaining('pruned'),
    hint: expect.stringContaining('the same command again'),
  })
  await expect(tidemark.at(at(1, 4)).count('r')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
})

async function latestRoot(): Promise<{ readonly key: string; readonly pruned: Timeline['pruned'] }> {
  const { timeline } = await TimelineLog.open(history.objects)
  return { key: timelineKey(timeline.generation), pruned: timeline.pruned }
}
