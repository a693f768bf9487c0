import type { Clock } from '../../src/base/clock.ts'
import { openFileLog } from '../../src/capture/file-log.ts'
import { Journal } from '../../src/capture/journal.ts'
import type { RecoveredJournal } from '../../src/capture/journal-recovery.ts'
import { NOTHING_SEALED, type Sealed } from '../../src/capture/journal-recovery.ts'
import { EventCursor, FIELD } from '../../src/format/event-codec.ts'
import type { Image, InsertChange, Stamp } from '../../src/model/event.ts'
import { isUlid, type Ulid } from '../../src/model/ulid.ts'
import { randomPace } from './random-pace.ts'
import { random, type SimulatedDisk } from './simulated-disk.ts'

const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'

/** Time that now and then stands still or runs backwards. */
function unsteadyClock(next: () => number): Clock {
  let now = 1_760_000_000_000
  return {
    now: () => {
      now += next() < 0.1 ? -500 : next() < 0.5 ? 0 : 3
      return now
    },
    sleep: () => Promise.resolve(),
    idle: () => Promise.resolve(),
  }
}

/** A text of up to 255 bytes. */
function messagePack(text: string): Uint8Array {
  return new Uint8Array([0xd9, text.length, ...Buffer.from(text)])
}

function image(next: () => number, label: string): Image {
  const padding = 'x'.repeat(Math.floor(next() ** 4 * 3000))
  return { json: Buffer.from(JSON.stringify({ label, padding })), raw: next() < 0.5 ? messagePack(label) : null }
}

const context = { actor: null, transaction: null, metadata: null }

/** What the application was told and what it knows: the independent model that a recovered journal is held against. */
export class History {
  /** Every change that was given to the journal, by its id. */
  readonly given: Map<string, InsertChange> = new Map()
  /** Ids of the changes whose promise resolved, with the stamp that was returned. */
  readonly acknowledged: Map<string, Stamp> = new Map()
  /** Intents whose promise resolved, by intent id: the id of the item. */
  readonly intents: Map<number, string> = new Map()
  /** Intents that the application has asked to settle or abort. */
  readonly asked: Set<number> = new Set()
  /** Intents that were aborted at some opening, of which it may not be known later. */
  readonly aborted: Set<number> = new Set()
  /** Intents whose outcome was acknowledged. */
  readonly settled: Set<number> = new Set()
  /** As the store's timeline has it. */
  sealed: Sealed = NOTHING_SEALED
  #count = 0

  intended(intent: number, id: string): void {
    this.intents.set(intent, id)
    // Ids are unique among the intents that the journal still holds: this one may have been another's long ago.
    for (const set of [this.asked, this.aborted, this.settled]) set.delete(intent)
  }

  name(): string {
    return `item ${++this.#count}`
  }
}

/** Runs a random workload on a journal until the power goes or `steps` are done. */
export async function work(disk: SimulatedDisk, seed: number, steps: number, history: History): Promise<void> {
  const next = random(seed)
  const log = await openFileLog({ disk, directory: 'journal', stream: STREAM, maxFileBytes: 6000 })
  const { journal, recovered } = await Journal.open({
    log,
    stream: STREAM,
    clock: unsteadyClock(next),
    sealed: history.sealed,
    carryBytes: 2000,
    pace: randomPace(next),
  })
  // What a start does: the intents that are open are settled by what the database says.
  await Promise.all(recovered.openIntents.map((open) => outcome(journal, open.intent, open.item.id, next, history)))
  const writer = async (): Promise<void> => {
    for (let i = 0; i < steps; i++) await write(journal, next, history)
  }
  const sealer = async (): Promise<void> => {
    for (let i = 0; i < steps; i++) {
      if (next() < 0.4) await seal(journal, next, history)
      else await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all([writer(), writer(), writer(), sealer()])
  await journal.close()
}

async function write(journal: Journal, next: () => number, history: History): Promise<void> {
  const items = Array.from({ length: next() < 0.2 ? 3 : 1 }, () => history.name())
  const ids = await journal.intend(
    items.map((id) => ({
      item: { kind: 'record', resource: 'r', id },
      before: null,
      isAssumed: false,
      meant: null,
      context,
    })),
  )
  for (const [index, id] of ids.entries()) history.intended(id, items[index] ?? '')
  await Promise.all(ids.map((id, index) => outcome(journal, id, items[index] ?? '', next, history)))
}

async function outcome(
  journal: Journal,
  intent: number,
  id: string,
  next: () => number,
  history: History,
): Promise<void> {
  // Some writes hang for longer than the test lasts.
  if (next() < 0.05) return
  history.asked.add(intent)
  if (next() < 0.2) {
    history.aborted.add(intent)
    return journal.abort([intent])
  }
  const change: InsertChange = {
    kind: 'record',
    resource: 'r',
    id,
    operation: 'insert',
    before: null,
    after: image(next, id),
    context,
  }
  history.given.set(id, change)
  const [stamp] = await journal.settle([{ intent, change }])
  history.settled.add(intent)
  if (stamp) history.acknowledged.set(id, stamp)
}

async function seal(journal: Journal, next: () => number, history: History): Promise<void> {
  const { throughSequence, throughUlid } = await journal.unsealed(next() < 0.5 ? 1000 : Number.POSITIVE_INFINITY)
  // The store's timeline is committed first: it knows from here on.
  if (throughSequence > history.sealed.sequence) history.sealed = { sequence: throughSequence, ulid: throughUlid }
  await journal.sealed(throughSequence)
}

/** Opens what is left on the disk; throws where it contradicts what was acknowledged. */
export async function check(disk: SimulatedDisk, history: History): Promise<RecoveredJournal> {
  const log = await openFileLog({ disk, directory: 'journal', stream: STREAM, maxFileBytes: 6000 })
  const { sealed } = history
  const { journal, recovered } = await Journal.open({
    log,
    stream: STREAM,
    clock: { now: () => 0, sleep: () => Promise.resolve(), idle: () => Promise.resolve() },
    sealed,
  })
  const { regions, throughSequence } = await journal.unsealed()
  const found = new Map<string, { sequence: number; ulid: Ulid }>()
  let sequence = sealed.sequence
  let lastUlid = ''
  for (const region of regions) {
    const cursor = new EventCursor(region)
    while (cursor.next()) {
      const id = Buffer.from(cursor.field(FIELD.id) ?? []).toString()
      const change = history.given.get(id)
      const ulid = Buffer.from(cursor.ulidBytes).toString()
      assert(change !== undefined, `event of ${id} was never given`)
      assert(same(cursor.field(FIELD.afterJson), change.after.json), `image of ${id} differs`)
      assert(same(cursor.field(FIELD.afterRaw), change.after.raw), `raw image of ${id} differs`)
      assert(cursor.sequence === ++sequence, `sequence ${cursor.sequence} instead of ${sequence}`)
      assert(isUlid(ulid) && ulid > lastUlid, `ULID ${ulid} of ${id} is not after ${lastUlid}`)
      assert(!found.has(id), `event of ${id} is there twice`)
      lastUlid = ulid
      found.set(id, { sequence, ulid })
    }
  }
  assert(throughSequence === sequence && recovered.nextSequence === sequence + 1, 'the next sequence is wrong')
  assert(recovered.unsealedEvents === found.size, 'the count of unsealed events is wrong')
  assert(recovered.lastUlid >= lastUlid, 'the last ULID is wrong')
  for (const [id, stamp] of history.acknowledged) {
    if (stamp.sequence <= sealed.sequence) continue
    const event = found.get(id)
    assert(event?.sequence === stamp.sequence && event.ulid === stamp.ulid, `acknowledged event of ${id} is not there`)
  }
  checkIntents(recovered, history, found)
  const [stamp] = await journal.settle([{ intent: 0, change: probe }])
  assert(stamp?.sequence === sequence + 1 && stamp.ulid > lastUlid, 'the journal does not go on where it stopped')
  history.given.set('probe', probe)
  await journal.sealed(stamp?.sequence ?? 0)
  history.sealed = stamp ?? NOTHING_SEALED
  assert((await journal.unsealed()).regions.length === 0 && journal.pending().events === 0, 'sealed events are left')
  await journal.close()
  return recovered
}

const probe: InsertChange = {
  kind: 'record',
  resource: 'r',
  id: 'probe',
  operation: 'insert',
  before: null,
  after: { json: Buffer.from('{}'), raw: null },
  context,
}

function checkIntents(recovered: RecoveredJournal, history: History, found: ReadonlyMap<string, unknown>): void {
  const open = new Map(recovered.openIntents.map((intent) => [intent.intent, intent.item.id]))
  for (const [intent, id] of history.intents) {
    // By item: the id may be open again for a write that was cut off before anybody knew of it.
    if (history.settled.has(intent)) assert(open.get(intent) !== id, `settled intent ${intent} of ${id} is open`)
    else if (!history.asked.has(intent)) assert(open.get(intent) === id, `intent ${intent} of ${id} is lost`)
    // Neither would lose a write that may have happened, both would settle it twice.
    else if (history.given.has(id) && !history.aborted.has(intent) && history.sealed.sequence === 0) {
      assert(open.has(intent) !== found.has(id), `intent ${intent} and event of ${id} disagree`)
    }
  }
}

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}

function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`recovery: ${message}`)
}
