import { expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { Journal, type Outcome } from '../../src/capture/journal.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { EventCursor, FIELD } from '../../src/format/event-codec.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import { changeBetween, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { firstUlidAt, MIN_ULID, ulidTime } from '../../src/model/ulid.ts'

const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
let now = 1_760_000_000_000
const clock: Clock = { now: () => now, sleep: () => Promise.resolve(), idle: () => Promise.resolve() }

function item(id: string): Item {
  return { kind: 'record', resource: 'r', id }
}

/** Of an intent whose state before was read, by a source that does not tell what it will write. */
const READ = { isAssumed: false, meant: null }

function outcome(id: string, intent = 0): Outcome {
  const after = { json: Buffer.from(`{"id":"${id}"}`), raw: null }
  return { intent, change: changeBetween(item(id), null, after, NO_CONTEXT) }
}

async function open(log: FrameLog = new MemoryLog(), sealedThrough = 0): ReturnType<typeof Journal.open> {
  return Journal.open({ log, stream: STREAM, clock, sealed: { sequence: sealedThrough, ulid: MIN_ULID } })
}

async function unsealedIds(journal: Journal, maxBytes?: number): Promise<string[]> {
  const ids: string[] = []
  for (const region of (await journal.unsealed(maxBytes)).regions) {
    const cursor = new EventCursor(region)
    while (cursor.next()) ids.push(Buffer.from(cursor.field(FIELD.id) ?? []).toString())
  }
  return ids
}

/** A log whose appends can be held up and made to fail. */
class HeldLog extends MemoryLog {
  frames = 0
  gate: Promise<void> = Promise.resolve()
  failure: TidemarkError | null = null
  /** Bytes of the largest frame that there is room for. */
  most: number = Number.POSITIVE_INFINITY
  trimmed: () => void = () => {}
  override async append(frame: Uint8Array): Promise<void> {
    await this.gate
    if (this.failure !== null) throw this.failure
    if (frame.length > this.most) throw FULL
    this.frames++
    await super.append(frame)
  }
  override async trim(before: number): Promise<number> {
    const oldest = await super.trim(before)
    this.trimmed()
    return oldest
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('what gathers while a frame is written goes into one next frame, and nobody is told before', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  const { promise, resolve } = Promise.withResolvers<void>()
  log.gate = promise
  let told = 0
  const first = journal.settle([outcome('first')]).then(() => told++)
  await new Promise((done) => setTimeout(done, 5))
  const others = Array.from({ length: 50 }, (_, i) => journal.settle([outcome(`other ${i}`)]).then(() => told++))
  await new Promise((done) => setTimeout(done, 5))
  expect([told, log.frames]).toEqual([0, 1])
  resolve()
  await Promise.all([first, ...others])
  expect([told, log.frames]).toEqual([51, 3])
  expect((await unsealedIds(journal)).length).toBe(51)
})

test('stamps follow the order of the calls and are greater than what the journal was advanced to', async () => {
  const { journal } = await open()
  const [a, b] = await Promise.all([journal.settle([outcome('a'), outcome('b')]), journal.settle([outcome('c')])])
  expect([...a, ...b].map((stamp) => stamp?.sequence)).toEqual([1, 2, 3])
  const later = firstUlidAt(now + 60_000)
  journal.advanceTo(later)
  const [stamp] = await journal.settle([outcome('d')])
  expect(stamp && stamp.ulid > later && stamp.stream === STREAM).toBe(true)
})

const FULL = new TidemarkError('JOURNAL_FULL', 'full', { hint: '' })

test('what the disk refuses is refused to who has not written, kept for who has, and written when there is room', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  await journal.settle([outcome('kept')])
  const frames = log.frames
  log.failure = FULL
  let told = 0
  const done = journal.settle([outcome('a')]).then(() => told++)
  const refused = { code: 'JOURNAL_FULL', message: expect.stringContaining('nothing was changed') }
  const intend = (id: string): Promise<unknown> =>
    journal.intend([{ item: item(id), before: null, ...READ, context: NO_CONTEXT }])
  await expect(intend('b')).rejects.toMatchObject(refused)
  await expect(intend('c')).rejects.toMatchObject(refused)
  const later = journal.settle([outcome('d')]).then(() => told++)
  expect([await journal.flush(), journal.room.obstacle, journal.room.shortage]).toEqual([false, FULL, FULL])
  expect([told, log.frames, await unsealedIds(journal)]).toEqual([0, frames, ['kept']])
  await journal.room.makeRoom()
  expect([told, journal.room.obstacle]).toEqual([0, FULL])
  log.failure = null
  await journal.room.makeRoom()
  await Promise.all([done, later])
  expect([await journal.flush(), journal.room.obstacle, told]).toEqual([true, null, 2])
  expect(await unsealedIds(journal)).toEqual(['kept', 'a', 'd'])
  await intend('e')
  // Nothing is left open of what was refused.
  const { openIntents, nextSequence } = (await open(log)).recovered
  expect([openIntents.map(({ item: { id } }) => id), nextSequence]).toEqual([['e'], 4])
})

test('what the disk refused is tried again by itself', async () => {
  const log = new HeldLog()
  const ticking: Clock = { ...clock, idle: (_ms, signal) => (signal.aborted ? Promise.resolve() : turn()) }
  const { journal } = await Journal.open({ log, stream: STREAM, clock: ticking })
  log.failure = FULL
  const done = journal.settle([outcome('a')])
  for (let i = 0; i < 20; i++) await turn()
  expect(journal.room.obstacle).toBe(FULL)
  log.failure = null
  await done
  expect(await unsealedIds(journal)).toEqual(['a'])
})

test('a journal that is closed while the disk takes nothing rejects what waits, and its intents stay open', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  const [intent] = await journal.intend([{ item: item('a'), before: null, ...READ, context: NO_CONTEXT }])
  log.failure = FULL
  const done = journal.settle([outcome('a', intent)])
  done.catch(() => undefined)
  await expect(journal.close()).rejects.toBe(FULL)
  await expect(done).rejects.toBe(FULL)
})

test('an attempt that follows a failed one has a nonce of its own', async () => {
  const log = new HeldLog()
  const writers: string[] = []
  const append = log.append.bind(log)
  log.append = (frame) => {
    writers.push(Buffer.from(decodeFrame(frame).writer).toString('hex'))
    return append(frame)
  }
  const { journal } = await open(log)
  log.failure = FULL
  const done = journal.settle([outcome('a')])
  await journal.flush()
  log.failure = null
  await journal.room.makeRoom()
  await done
  expect([writers.length, new Set(writers).size]).toEqual([3, 2])
  expect(writers[1]).not.toBe(writers[2])
})

test('what the store has makes room, in front of what the disk refuses', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  for (const id of ['a', 'b', 'c']) await journal.settle([outcome(id)])
  log.most = 200
  const done = journal.settle([outcome('d'.repeat(400))])
  expect(await journal.flush()).toBe(false)
  log.trimmed = () => {
    log.most = Number.POSITIVE_INFINITY
  }
  await journal.sealed(3)
  await done
  expect(await unsealedIds(journal)).toEqual(['d'.repeat(400)])
  expect(log.range?.first).toBeGreaterThan(3)
})

test('after any other failure every call rejects with it, and no later one is written', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  await journal.settle([outcome('kept')])
  const frames = log.frames
  const failure = new TidemarkError('STREAM_FENCED', 'fenced', { hint: '' })
  log.failure = failure
  await expect(journal.settle([outcome('a')])).rejects.toBe(failure)
  log.failure = null
  await expect(journal.settle([outcome('c')])).rejects.toBe(failure)
  await expect(journal.flush()).rejects.toBe(failure)
  expect(() => journal.abort([1])).toThrow(failure)
  expect([log.frames, await unsealedIds(journal)]).toEqual([frames, ['kept']])
  const again = await open(log)
  expect(again.recovered.nextSequence).toBe(2)
})

test('pending counts what is durable and not sealed, and ages with the clock', async () => {
  const { journal } = await open()
  expect(journal.pending()).toEqual({ events: 0, bytes: 0, ageMs: 0, heldBytes: 0 })
  await journal.settle([outcome('a'), outcome('b')])
  await journal.settle([outcome('c')])
  now += 1500
  const { bytes, throughSequence, throughUlid, regions } = await journal.unsealed()
  expect(journal.pending()).toMatchObject({ events: 3, bytes, ageMs: 1500 })
  expect(regions.reduce((sum, region) => sum + region.length, 0)).toBe(bytes)
  expect([throughSequence, ulidTime(throughUlid)]).toEqual([3, now - 1500])
  expect(await unsealedIds(journal, 1)).toEqual(['a', 'b'])
  await journal.sealed(2)
  expect(journal.pending()).toMatchObject({ events: 1, ageMs: 1500 })
  expect(await unsealedIds(journal)).toEqual(['c'])
})

test('sealing within a frame leaves exactly the rest of it', async () => {
  const { journal } = await open()
  await journal.settle([outcome('a'), outcome('b'), outcome('c')])
  await journal.sealed(2)
  expect([await unsealedIds(journal), journal.pending().events]).toEqual([['c'], 1])
})

test('a frame with an open intent outlives the sealing of its events, and goes when it is settled', async () => {
  const log = new MemoryLog()
  const { journal } = await open(log)
  const before = { json: utf8('{"v":1}'), raw: Uint8Array.from([0xa3, ...utf8('raw')]) }
  const context = { actor: 'a', transaction: 't', metadata: '{}' }
  const [held = 0] = await journal.intend([{ item: item('held'), before, ...READ, context }])
  for (let i = 0; i < 20; i++) await journal.settle([outcome(`event ${i}`)])
  await journal.sealed(20)
  expect((await open(log)).recovered.openIntents).toEqual([
    { intent: held, item: item('held'), before, ...READ, context, since: MIN_ULID },
  ])
  const reopened = (await open(log)).journal
  await reopened.settle([outcome('held', held)])
  await reopened.sealed(21)
  const again = await open(log, 21)
  expect(again.recovered).toMatchObject({ openIntents: [], nextSequence: 22, unsealedEvents: 0 })
  expect(log.range?.first).toBeGreaterThan(20)
})

test('an aborted intent is no longer open once the next frame is durable, and costs no frame of its own', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  const [id = 0] = await journal.intend([{ item: item('x'), before: null, ...READ, context: NO_CONTEXT }])
  const frames = log.frames
  expect(await journal.settle([{ intent: id, change: null }])).toEqual([null])
  expect(log.frames).toBe(frames)
  await journal.flush()
  expect(log.frames).toBe(frames + 1)
  expect((await open(log)).recovered.openIntents).toEqual([])
})

test('a closed journal refuses, after everything that was given to it is durable', async () => {
  const log = new HeldLog()
  const { journal } = await open(log)
  const settling = journal.settle([outcome('a')])
  const frames: number[] = []
  log.close = async () => {
    for await (const frame of log.read(1)) frames.push(decodeFrame(frame).eventCount)
  }
  await journal.close()
  await settling
  expect(frames.reduce((sum, count) => sum + count, 0)).toBe(1)
  await expect(journal.settle([outcome('b')])).rejects.toMatchObject({ code: 'CAPTURE_CLOSED' })
})

test('a journal goes on behind what the store has, and one that is older than the store is corrupt', async () => {
  const { recovered, journal } = await open(new MemoryLog(), 40)
  expect(recovered.nextSequence).toBe(41)
  expect((await journal.settle([outcome('a')]))[0]?.sequence).toBe(41)
  const log = new MemoryLog()
  await (await open(log)).journal.settle([outcome('a')])
  await expect(open(log, 2)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
})

test('sequences of writes that are not recorded are a hole, which no region spans and no opening forgets', async () => {
  const log = new MemoryLog()
  const { journal } = await open(log)
  await journal.settle([outcome('a'), outcome('b')])
  const before = journal.mark()
  await journal.beginShed(1).durable
  journal.shed(4)
  await journal.settle([outcome('under way')])
  journal.shed(2)
  await journal.endShed()
  const after = journal.mark()
  const [stamp] = await journal.settle([outcome('c')])
  expect(stamp?.sequence).toBe(11)
  const ranges = journal.shedRanges
  expect(ranges).toMatchObject([
    { firstSequence: 3, lastSequence: 7 },
    { firstSequence: 9, lastSequence: 10 },
  ])
  for (const range of ranges) {
    expect(range.after > before).toBe(true)
    expect(range.before !== null && range.before < after).toBe(true)
  }
  expect(journal.pending().events).toBe(4)
  for (const [ids, through, isLast] of [
    [['a', 'b'], 2, false],
    [['under way'], 8, false],
    [['c'], 11, true],
  ] as const) {
    const crashed = await Journal.open({ log: await copyOf(log), stream: STREAM, clock })
    expect(crashed.recovered.nextSequence).toBe(12)
    // When it ended is in the timeline only.
    if (through === 2) expect(crashed.journal.shedRanges).toEqual(ranges.map((range) => ({ ...range, before: null })))
    const known = await Journal.open({ log: await copyOf(log), stream: STREAM, clock, shed: ranges })
    expect(known.journal.shedRanges).toEqual(ranges)
    const unsealed = await journal.unsealed()
    expect([await unsealedIds(journal), unsealed.throughSequence, unsealed.isLast]).toEqual([ids, through, isLast])
    await journal.sealed(through)
  }
  expect(journal.pending()).toMatchObject({ events: 0, heldBytes: 0 })
})

async function copyOf(log: MemoryLog): Promise<MemoryLog> {
  const copy = new MemoryLog()
  for await (const frame of log.read(log.range?.first ?? 1)) await copy.append(frame)
  return copy
}
