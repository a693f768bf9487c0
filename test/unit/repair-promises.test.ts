import { afterEach, expect, test } from 'vitest'
import { type RepairReport, repairStore } from '../../src/engine/repair.ts'
import { isNodeKey, parseTimelineKey, TIMELINE_PREFIX, timelineKey } from '../../src/format/keys.ts'
import { isPause } from '../../src/model/hold.ts'
import type { Timeline } from '../../src/model/timeline.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { inProcess } from '../support/in-process.ts'
import { BEGIN, DAY, HOUR, KeptHistory } from '../support/kept-history.ts'

let history = new KeptHistory()
afterEach(() => history.end())

const at = (day: number, hour: number): number => BEGIN + day * DAY + hour * HOUR
const spec = () => ({ url: 'own://store', objects: history.objects })

async function begun(days: number): Promise<void> {
  history = new KeptHistory()
  await history.begin()
  await history.days(0, days - 1)
}

async function timeline(): Promise<Timeline> {
  return (await TimelineLog.open(history.objects)).timeline
}

/** As a disk that has torn it. */
async function spoil(key: string): Promise<void> {
  const bytes = await history.objects.get(key)
  bytes.fill(0x58, Math.floor(bytes.length / 2))
  await history.objects.put(key, bytes)
}

const last = async (): Promise<number> =>
  (await keysOf(history.objects.list(TIMELINE_PREFIX))).map((key) => parseTimelineKey(key) ?? 0).at(-1) ?? 0

/** Spoils the last generations. */
async function loseRoots(count: number): Promise<void> {
  const end = await last()
  for (let n = end - count + 1; n <= end; n++) await spoil(timelineKey(n))
}

async function repaired(): Promise<RepairReport> {
  const done = await repairStore(spec(), { apply: true })
  expect(done.generation).not.toBeNull()
  expect(await repairStore(spec())).toMatchObject({ isNeeded: false })
  return done
}

/** Fills leaves of the ledger. */
async function manyMarks(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await history.tidemark.retention.mark(`release-${n}`, { at: at(n % 3, 10) })
}

const POLICY = { policy: { window: '1d' }, confirm: true, grace: '0ms' }
const paused = { code: 'RETENTION_PAUSED', hint: expect.stringContaining('tidemark hold remove') }

test('the root that had the last holds is lost: those before it hold, nothing is pruned until somebody says so', async () => {
  await begun(6)
  const hold = await history.tidemark.retention.hold({ from: at(1, 4), through: at(1, 12), reason: 'case 1' })
  await history.tidemark.close()
  await history.begin()
  await history.tidemark.retention.hold({ from: at(3, 4), reason: 'case 2' })
  await history.tidemark.close()
  // The last commits: case 2, and the end of the stream.
  await loseRoots(2)
  const done = await repaired()
  const { holds = [] } = await timeline()
  expect(holds.filter((one) => !isPause(one))).toEqual([hold])
  expect(done.paused).toEqual(holds.find(isPause))
  await history.begin()
  await expect(history.tidemark.retention.prune(POLICY)).rejects.toMatchObject(paused)
  await expect(history.tidemark.retention.prune({ policy: POLICY.policy })).rejects.toMatchObject(paused)
  const { out } = await inProcess(spec(), 'status')
  expect(out).toContain('everything: retention is paused')
  // Who knows makes again what is missing, and ends the pause.
  await history.tidemark.retention.hold({ from: at(3, 4), reason: 'case 2' })
  await history.tidemark.retention.release(done.paused?.id ?? '')
  await history.tidemark.retention.prune(POLICY)
  for (const moment of [at(1, 4), at(1, 9), at(1, 12), at(3, 4)])
    expect(await history.shown(moment)).toBe(history.expected(moment))
  expect(await history.shown(at(2, 4))).toMatchObject({ code: 'MOMENT_UNREACHABLE' })
})

test('a leaf of the ledger is lost: what it said stands in older roots, and holds', async () => {
  await begun(5)
  await history.tidemark.retention.hold({ from: at(1, 4), through: at(1, 12), reason: 'case 1' })
  await manyMarks(200)
  await history.tidemark.close()
  const before = await timeline()
  const { nodes } = (await TimelineLog.open(history.objects)).present.ledger
  expect(nodes.length).toBeGreaterThan(0)
  for (const { key } of nodes) await spoil(key)
  const done = await repaired()
  const after = await timeline()
  // What the very commit that wrote a leaf has added stood in no root: that is why retention is paused.
  const lost = before.marks?.filter(({ name }) => !after.marks?.some((one) => one.name === name)) ?? []
  expect(lost.length).toBeLessThanOrEqual(nodes.length)
  expect(before.marks).toEqual(expect.arrayContaining([...(after.marks ?? [])]))
  expect(after.holds?.filter((one) => !isPause(one))).toEqual(before.holds)
  expect(after.snapshots).toEqual(before.snapshots)
  expect(after.streams).toEqual(before.streams)
  expect(done.recalled.marks.length).toBeGreaterThan(60)
  await history.begin()
  await expect(history.tidemark.retention.prune(POLICY)).rejects.toMatchObject(paused)
  await history.tidemark.retention.release(done.paused?.id ?? '')
  await history.tidemark.retention.prune(POLICY)
  const marked = [0, 1, 2].map((day) => at(day, 10))
  for (const moment of [...marked, at(1, 4), at(1, 12)])
    expect(await history.shown(moment)).toBe(history.expected(moment))
})

test('root and leaf are lost at once, and what was pruned stays pruned and is no gap', async () => {
  await begun(8)
  await history.tidemark.retention.mark('kept', { at: at(1, 10) })
  await history.tidemark.retention.prune(POLICY)
  history.clock.set(at(8, 1))
  // Looks by clocks, until the files have gone.
  for (let n = 0; n < 4; n++) {
    history.clock.set(at(8, 1 + n))
    await history.tidemark.retention.prune(POLICY)
  }
  await history.tidemark.retention.hold({ from: at(1, 10), reason: 'case' })
  await manyMarksOn('day7', 150)
  await history.tidemark.close()
  const before = await timeline()
  expect(before.pruned?.length).toBeGreaterThan(0)
  const { nodes } = (await TimelineLog.open(history.objects)).present.ledger
  for (const { key } of nodes) await spoil(key)
  await loseRoots(1)
  await repaired()
  const after = await timeline()
  expect(after.pruned).toEqual(before.pruned)
  expect(after.streams.map(({ base }) => base)).toEqual(before.streams.map(({ base }) => base))
  await history.begin()
  expect(await history.tidemark.gaps()).toEqual([])
  expect((await history.tidemark.verify()).damage).toEqual([])
  expect(await history.shown('kept')).toBe(history.expected(at(1, 10)))
  expect(await history.shown(at(7, 20))).toBe(history.expected(at(7, 20)))
  expect(await history.shown(at(3, 4))).toMatchObject({ message: expect.stringContaining('was pruned on') })
})

async function manyMarksOn(name: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await history.tidemark.retention.mark(`${name}-${n}`, { at: at(7, 10) })
}

test('what a whole root after it has released is not held again', async () => {
  await begun(4)
  const { retention } = history.tidemark
  const hold = await retention.hold({ from: at(1, 4), reason: 'case 1' })
  await retention.mark('gone', { at: at(1, 10) })
  await retention.release(hold.id)
  await retention.unmark('gone')
  await history.write(at(4, 3))
  await history.tidemark.close()
  await loseRoots(1)
  const done = await repaired()
  expect(done.recalled).toEqual({ marks: [], holds: [] })
  const { holds, marks = [] } = await timeline()
  expect([holds?.filter((one) => !isPause(one)), marks]).toEqual([[], []])
})

test('all roots are lost: nodes that are left say what they know', async () => {
  await begun(4)
  const hold = await history.tidemark.retention.hold({ from: at(1, 4), through: at(1, 12), reason: 'case 1' })
  await manyMarks(150)
  await history.tidemark.close()
  const before = await timeline()
  for (const key of await keysOf(history.objects.list(TIMELINE_PREFIX))) await history.objects.delete([key])
  const done = await repaired()
  const after = await timeline()
  expect(done.recalled.holds).toEqual([hold])
  expect(after.holds?.filter((one) => !isPause(one))).toEqual([hold])
  // What had not become a node yet stood in the roots alone.
  const names = new Set(before.marks?.map(({ name }) => name))
  expect(after.marks?.length).toBeGreaterThan(60)
  expect(after.marks?.every(({ name }) => names.has(name))).toBe(true)
  expect(done.paused).not.toBeNull()
})

test('nothing is left of the catalogue: nothing is pruned, and the way on is told', async () => {
  await begun(4)
  await history.tidemark.retention.hold({ from: at(1, 4), reason: 'case 1' })
  await history.tidemark.close()
  for (const key of await keysOf(history.objects.list('')))
    if (key.startsWith(TIMELINE_PREFIX) || isNodeKey(key)) await history.objects.delete([key])
  const shown = await inProcess(spec(), 'repair')
  expect(shown.out).toContain('retention is paused, and nothing is pruned')
  expect(await keysOf(history.objects.list(TIMELINE_PREFIX))).toEqual([])
  const { out, code } = await inProcess(spec(), 'repair', '--apply')
  expect(code).toBe(0)
  const remove = /and then: tidemark (hold remove \S+)/.exec(out)?.[1]?.split(' ') ?? []
  const segments = await keysOf(history.objects.list('segment/'))
  const refused = await inProcess(spec(), 'prune', '--window', '1d', '--confirm')
  expect([refused.code, refused.err]).toEqual([5, expect.stringContaining('retention is paused since')])
  expect(await keysOf(history.objects.list('segment/'))).toEqual(segments)
  expect((await inProcess(spec(), ...remove)).code).toBe(0)
  expect((await inProcess(spec(), 'prune', '--window', '1d')).code).toBe(0)
})

test('where nothing of the ledger can be lost retention goes on', async () => {
  await begun(4)
  await history.tidemark.close()
  await spoil(timelineKey(2))
  const done = await repaired()
  expect(done.paused).toBeNull()
  expect((await timeline()).holds).toBeUndefined()
})
