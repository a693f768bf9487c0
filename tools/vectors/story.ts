import { renameSync, writeFileSync } from 'node:fs'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image, Item } from '../../src/model/event.ts'
import type { Ulid } from '../../src/model/ulid.ts'
import type { Moment } from '../../src/restore/moment.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { INITIAL, image, item, RAW, user } from './content.ts'
import { nameOf, type StepClock, VectorDatabase, type Written } from './database.ts'

/** A moment of the story, and what the database held then as far as it was recorded. */
export interface Told {
  readonly label: string
  readonly moment: Exclude<Moment, Date>
  readonly states: readonly ItemState[]
}

/** Where the story is told. */
export interface Stage {
  readonly directory: string
  readonly store: StoreSpec
  readonly clock: StepClock
}

/** Pads a write, so that a journal is soon full. */
const PADDING = '.'.repeat(1500)

/**
 * One history with everything in it that a reader has to know: two streams, a transaction, a snapshot from history, a
 * range that was not recorded and the baseline after it, a restore in place, and a record that is erased.
 */
export class Story {
  readonly #stage: Stage
  readonly #database: VectorDatabase = new VectorDatabase()
  readonly told: Told[] = []
  /** Events of the first stream are the first of these. */
  #gap: readonly [number, number] | null = null

  constructor(stage: Stage) {
    this.#stage = stage
  }

  /** What was written and recorded, in the order of the events. */
  get recorded(): readonly Written[] {
    const [first, last] = this.#gap ?? [0, 0]
    return this.#database.written.slice(INITIAL.length).filter((_, i) => i + 1 < first || i + 1 > last)
  }

  /** Tells it; what is acknowledged or erased in the end is up to the caller. */
  async tell(): Promise<void> {
    for (const [one, state] of INITIAL) await this.#database.write([[one, state]])
    await this.#during('first', async (tidemark) => {
      await until(async () => (await tidemark.status()).snapshots.length > 0)
      this.#mark('the first snapshot')
      await this.#everyday()
      await tidemark.flush()
      await this.#transaction(tidemark)
      await tidemark.snapshot()
      await this.#put(user('ann'), image({ id: 'ann', name: 'Anna', age: 42 }))
      this.#mark('after the second snapshot')
      await this.#unrecorded(tidemark)
    })
    await this.#during('second', async (tidemark) => {
      await this.#put(user('eve'), null)
      await this.#put(item('record', 'Users', 'b'), image({ id: 'b' }, RAW.binary))
      this.#mark('in the second stream')
      await tidemark.flush()
      const [{ moment } = { moment: 0 }] = this.told.filter(({ label }) => label === 'after everyday writes')
      await tidemark.restoreAt(moment, { target: this.#database.target(), inPlace: true, overwrite: true })
      this.#mark('after the restore in place')
      await this.#put(user('eve'), null)
      await this.#put(user('zoë'), image({ id: 'zoë', name: 'Zoë' }))
      this.#mark('the end')
    })
  }

  async #during(name: string, part: (tidemark: Tidemark) => Promise<void>): Promise<void> {
    const { clock, directory, store } = this.#stage
    const journal = { directory: `${directory}/journal-${name}`, limitBytes: 16 * 1024, whenFull: 'shed' } as const
    const seal = { events: 1000, ageMs: 1e9, closeMs: 60_000 }
    const logger = createLogger('silent')
    const tidemark = await Tidemark.capture({ store, source: this.#database, journal, seal, logger }, clock)
    clock.step()
    await part(tidemark)
    await tidemark.close()
    clock.step()
  }

  async #put(one: Item, state: Image | null): Promise<void> {
    this.#stage.clock.step()
    await this.#database.write([[one, state]])
  }

  #mark(label: string): void {
    this.told.push({ label, moment: this.#stage.clock.step(), states: this.#database.states })
    this.#stage.clock.step()
  }

  async #everyday(): Promise<void> {
    await this.#put(user('carl'), image({ id: 'carl', name: 'Carl' }, RAW.numbers))
    await this.#put(user('carl'), image({ id: 'carl', name: 'Karl' }, RAW.forms))
    await this.#put(user('bob'), null)
    await this.#put(item('object', 'users', 'sequence=id/value'), image({ value: 8 }))
    await this.#put(item('schema', 'users'), image({ attributes: { name: 'string' } }))
    await this.#put(user('raw wide'), image({ id: 'wide', more: 1 }, RAW.order))
    this.#mark('after everyday writes')
  }

  async #transaction(tidemark: Tidemark): Promise<void> {
    this.#stage.clock.step()
    const before = this.#database.states
    const together: [Item, Image | null][] = [
      [item('record', 'Users', 'a'), image({ id: 'a', note: 'paid' })],
      [user('ann'), image({ id: 'ann', name: 'Ann', age: 42 }, RAW.older)],
      [user('carl'), null],
    ]
    const metadata = JSON.stringify({ reason: 'a "transfer"' })
    await this.#database.write(together, { actor: 'clerk é', transaction: 'tx-1', metadata })
    const after = this.#database.states
    await tidemark.flush()
    const ulid = await lastEvent(tidemark, 'users', 'ann')
    this.told.push({ label: 'before the transaction', moment: { before: ulid }, states: before })
    this.told.push({ label: 'one event of the transaction', moment: ulid, states: after })
    this.#stage.clock.step()
  }

  /** The store takes no segments until the journal is full; what is written then is not recorded. */
  async #unrecorded(tidemark: Tidemark): Promise<void> {
    const { directory } = this.#stage
    const [segments, aside] = [`${directory}/store/segment`, `${directory}/segment`]
    renameSync(segments, aside)
    writeFileSync(segments, '')
    for (let n = 0; (await stateOf(tidemark)) === 'recording'; n++)
      await this.#put(user('padding'), image({ n, padding: PADDING }))
    const first = this.#database.written.length - INITIAL.length
    const { after: known } = this.#database.written.at(-2) ?? { after: null }
    const recorded = this.#database.states
    this.#mark('while nothing is recorded')
    const [last] = this.told.splice(-1)
    if (last === undefined || known === null) throw new Error('nothing was written')
    const padding = user('padding')
    const states = recorded.map((one) => (nameOf(one) === nameOf(padding) ? { ...padding, image: known } : one))
    this.told.push({ ...last, states })
    await this.#put(padding, null)
    await this.#put(user('dora'), image({ id: 'dora', note: 'nobody saw this being written' }))
    this.#gap = [first, this.#database.written.length - INITIAL.length]
    renameSync(segments, `${directory}/no-segment`)
    renameSync(aside, segments)
    const { snapshots } = await tidemark.status()
    await tidemark.flush()
    await until(async () => (await stateOf(tidemark)) === 'recording')
    await until(async () => (await tidemark.status()).snapshots.length > snapshots.length)
    await this.#put(user('dora'), image({ id: 'dora', note: 'seen' }))
    this.#mark('after the gap')
    await tidemark.flush()
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** The stamp of the last event of a record. */
async function lastEvent(tidemark: Tidemark, resource: string, id: string): Promise<Ulid> {
  let ulid = ''
  for await (const { stamp } of tidemark.history(resource, id)) ulid = stamp.ulid
  return ulid
}

async function stateOf(tidemark: Tidemark): Promise<string | undefined> {
  return (await tidemark.status()).pending?.state
}
