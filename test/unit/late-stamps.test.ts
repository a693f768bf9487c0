import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Chain } from '../../src/capture/chain.ts'
import { Confirmations } from '../../src/capture/confirmations.ts'
import { Journal } from '../../src/capture/journal.ts'
import { firstStampIn, roomBehind, withLateStamps } from '../../src/capture/late-stamps.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { EventCursor } from '../../src/format/event-codec.ts'
import type { Change, Stamp } from '../../src/model/event.ts'
import { instantEnd, lastUlidAt, newUlid, type Ulid } from '../../src/model/ulid.ts'
import { recordImage } from '../support/model-database.ts'

const STREAM = newUlid(1_700_000_000_000)
const context = { actor: null, transaction: null, metadata: null }

function change(n: number): Change {
  return {
    kind: 'record',
    resource: 'r',
    id: `x${n}`,
    context,
    operation: 'insert',
    before: null,
    after: recordImage({ n }),
  }
}

/** A journal in which captures of so many items stand, and their stamps. */
async function journalOf(sizes: readonly number[]): Promise<{ log: MemoryLog; journal: Journal; stamps: Stamp[] }> {
  const log = new MemoryLog()
  const { journal } = await Journal.open({ log, stream: STREAM, clock: systemClock })
  const stamps: Stamp[] = []
  for (const size of sizes) {
    const outcomes = Array.from({ length: size }, (_, n) => ({ intent: 0, change: change(n) }))
    for (const stamp of await journal.settle(outcomes)) if (stamp !== null) stamps.push(stamp)
  }
  return { log, journal, stamps }
}

function stampsIn(regions: readonly Uint8Array[]): Ulid[] {
  const stamps: Ulid[] = []
  for (const region of regions) {
    const cursor = new EventCursor(region)
    while (cursor.next()) stamps.push(Buffer.from(cursor.ulidBytes).toString('latin1'))
  }
  return stamps
}

test('late stamps come behind the moment and the last event, in order, one instant a capture, and are the same again', async () => {
  const { journal } = await journalOf([1, 3, 1, 2])
  const { regions } = await journal.unsealed()
  const given = stampsIn(regions)
  const after = lastUlidAt(systemClock.now() + 5000)
  const through = roomBehind(after, given.length)
  const late = stampsIn(withLateStamps(regions, { after, through }, STREAM))
  expect(late.toSorted()).toEqual(late)
  expect(late.every((ulid) => ulid > after && ulid < through)).toBe(true)
  expect(new Set(late).size).toBe(given.length)
  const instants = (ulids: readonly Ulid[]): number[] =>
    [...Map.groupBy(ulids, instantEnd).values()].map((one) => one.length)
  expect(instants(late)).toEqual([1, 3, 1, 2])
  expect(stampsIn(withLateStamps(regions, { after, through }, STREAM))).toEqual(late)
  expect(stampsIn(regions)).toEqual(given)
  const last = lastUlidAt(systemClock.now() + 9000)
  expect(stampsIn(withLateStamps(regions, { after, through }, last)).every((ulid) => ulid > last)).toBe(true)
})

test('what was stamped behind the end of what is late keeps its stamps', async () => {
  const { journal } = await journalOf([1, 1, 1])
  const { regions } = await journal.unsealed()
  const [first = '', second = '', third = ''] = stampsIn(regions)
  const after = first
  const late = stampsIn(withLateStamps(regions, { after, through: second }, STREAM))
  expect(late[2]).toBe(third)
  expect(late[0] ?? '').toSatisfy((ulid: Ulid) => ulid > first && ulid !== second)
  expect(firstStampIn(regions)).toBe(first)
  expect(firstStampIn([])).toBe(null)
  expect(withLateStamps(regions, undefined, STREAM)).toBe(regions)
})

test('a journal whose events have other stamps in the store is no copy that was written to elsewhere', async () => {
  const { log, stamps } = await journalOf([1, 1, 1])
  const [, second, third] = stamps.map(({ ulid }) => ulid)
  const stored = lastUlidAt(systemClock.now() + 5000)
  const open = (lateThrough: Ulid | undefined): Promise<unknown> =>
    Journal.open({
      log,
      stream: STREAM,
      clock: systemClock,
      sealed: { sequence: 2, ulid: stored, ...(lateThrough === undefined ? {} : { lateThrough }) },
    })
  await expect(open(undefined)).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  await expect(open(second)).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  await expect(open(third)).resolves.toBeDefined()
})

test('what got a later stamp is read once more when others have passed that, and not before', async () => {
  const reads: string[] = []
  const clock: Clock = { ...systemClock, now: () => 1_700_000_000_000 }
  const at = (ms: number): Ulid => lastUlidAt(clock.now() + ms)
  const image = recordImage({ n: 1 })
  const read = async ({ id }: { readonly id: string }): Promise<typeof image> => {
    reads.push(id)
    return image
  }
  const chain = new Chain({ isAloneSince: () => false, mark: () => at(0) })
  const stamping = { company: () => ({ isShared: true, heard: at(0) }), stamp: async () => {} }
  const locked = (_: unknown, look: () => Promise<void>): Promise<void> => look()
  const log = createLogger('silent')
  const confirmations = new Confirmations({ clock, log, chain, read }, stamping, locked)
  confirmations.add({ kind: 'record', resource: 'r', id: 'late' }, image, at(1))
  confirmations.restamped(at(50))
  confirmations.add({ kind: 'record', resource: 'r', id: 'after' }, image, at(60))
  await confirmations.confirm(at(40))
  expect(reads).toEqual([])
  await confirmations.confirm(at(50))
  expect(reads).toEqual(['late'])
  await confirmations.confirm(at(60))
  expect(reads).toEqual(['late', 'after'])
})

test('what was stamped behind the late ones is given as it is, without a copy', async () => {
  const { journal } = await journalOf([1, 1])
  const { regions } = await journal.unsealed()
  const [first = new Uint8Array()] = regions
  const through = instantEnd(firstStampIn([first]) ?? '')
  const after = lastUlidAt(systemClock.now() + 5000)
  const given = withLateStamps(regions, { after, through }, STREAM)
  expect(given.map((region, i) => region === regions[i])).toEqual(regions.map((_, i) => i > 0))
  expect(regions.length).toBeGreaterThan(1)
})
