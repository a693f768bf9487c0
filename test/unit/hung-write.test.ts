import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { openFileLog } from '../../src/capture/file-log.ts'
import { Journal } from '../../src/capture/journal.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { changeBetween, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { MIN_ULID } from '../../src/model/ulid.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
const clock: Clock = { now: () => 1_760_000_000_000, sleep: () => Promise.resolve(), idle: () => Promise.resolve() }
const TEXT = 'x'.repeat(1000)

function item(id: string): Item {
  return { kind: 'record', resource: 'r', id }
}

function image(id: string): { json: Uint8Array; raw: null } {
  return { json: utf8(JSON.stringify({ id, TEXT })), raw: null }
}

async function open(disk: SimulatedDisk): ReturnType<typeof Journal.open> {
  const log = await openFileLog({ disk, directory: 'journal', stream: STREAM, maxFileBytes: 4096 })
  return Journal.open({ log, stream: STREAM, clock, carryBytes: 5000 })
}

async function intend(journal: Journal, id: string): Promise<number> {
  const [intent = 0] = await journal.intend([
    { item: item(id), before: image(`${id} before`), isAssumed: true, meant: null, context: NO_CONTEXT },
  ])
  return intent
}

async function settle(journal: Journal, intent: number, id: string): Promise<void> {
  await journal.settle([{ intent, change: changeBetween(item(id), null, image(id), NO_CONTEXT) }])
}

function bytesOn(disk: SimulatedDisk): number {
  return [...disk.contents().values()].reduce((sum, content) => sum + content.length, 0)
}

test('a write that hangs does not pin the journal: its intent goes along, and is settled after a crash', async () => {
  const disk = new SimulatedDisk({ seed: 1 })
  const { journal } = await open(disk)
  const hung = await intend(journal, 'hung')
  let mostBytes = 0
  let mostHeld = 0
  for (let i = 0; i < 100; i++) {
    await settle(journal, await intend(journal, `r${i}`), `r${i}`)
    mostHeld = Math.max(mostHeld, journal.pending().heldBytes)
    if (i % 3 !== 2) continue
    await journal.sealed((await journal.unsealed()).throughSequence)
    mostBytes = Math.max(mostBytes, bytesOn(disk))
  }
  // 100 writes are some 220,000 bytes.
  expect(mostBytes).toBeLessThan(60_000)
  expect(mostHeld).toBeLessThan(40_000)
  expect(journal.openIntents).toBe(1)

  const { recovered } = await open(new SimulatedDisk({ seed: 1 }, disk.contents()))
  expect(recovered.openIntents).toMatchObject([
    { intent: hung, item: item('hung'), before: image('hung before'), isAssumed: true, since: MIN_ULID },
  ])

  await settle(journal, hung, 'hung')
  await journal.sealed((await journal.unsealed()).throughSequence)
  expect(journal.pending().heldBytes).toBe(0)
  await journal.close()
  expect((await open(new SimulatedDisk({ seed: 1 }, disk.powerOff()))).recovered.openIntents).toEqual([])
})

test('what an open write keeps counts as held, before and after a start', async () => {
  const disk = new SimulatedDisk({ seed: 1 })
  const { journal } = await open(disk)
  await intend(journal, 'hung')
  for (let i = 0; i < 3; i++) await settle(journal, 0, `r${i}`)
  await journal.sealed((await journal.unsealed()).throughSequence)
  expect(journal.heldBytes).toBeGreaterThan(3000)
  const again = await open(new SimulatedDisk({ seed: 1 }, disk.powerOff()))
  expect(again.journal.heldBytes).toBeGreaterThan(3000)
})

/** A log that takes some turns to write, and none to read. */
class SlowLog extends MemoryLog {
  override async append(frame: Uint8Array): Promise<void> {
    for (let turn = 0; turn < 4; turn++) await setImmediate()
    await super.append(frame)
  }
}

test('a write that ends while its intent is written again is not open for ever', async () => {
  for (let turns = 0; turns < 8; turns++) {
    const log = new SlowLog()
    const { journal } = await Journal.open({ log, stream: STREAM, clock, carryBytes: 5000 })
    const hung = await intend(journal, 'hung')
    for (let i = 0; i < 8; i++) await settle(journal, 0, `r${i}`)
    const { throughSequence } = await journal.unsealed()
    const ended = settle(journal, hung, 'hung')
    for (let turn = 0; turn < turns; turn++) await setImmediate()
    await journal.sealed(throughSequence)
    await ended
    expect(journal.openIntents, `after ${turns} turns`).toBe(0)
    const again = await Journal.open({ log, stream: STREAM, clock })
    expect(again.recovered.openIntents, `after ${turns} turns`).toEqual([])
  }
})
