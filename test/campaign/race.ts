import type { Clock } from '../../src/base/clock.ts'
import { EventCursor, FIELD } from '../../src/format/event-codec.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import type { Item } from '../../src/model/event.ts'
import { show } from '../support/arbitrary.ts'
import { Schedule } from '../support/race-schedule.ts'
import { type Broken, RaceProcess, RaceWorld, type Wish } from '../support/race-world.ts'
import { random } from '../support/random.ts'
import type { Campaign, Tally } from './campaign.ts'

const ITEMS: readonly Item[] = ['x', 'y'].map((id) => ({ kind: 'record', resource: 'r', id }))
const KILLS = 0.004
const HOUR_MS = 3_600_000

/**
 * Two or three processes write the same records, with any pause between any two steps, clocks that are hours apart, and
 * kills. At the end the last event of every record, by stamp, is what the database holds; every write that was acknowledged is an
 * event, and none that was refused. See `Peers` for why.
 */
export const race: Campaign = { name: 'race', seeds: 100_000, run: (seed, tally) => schedule(seed, tally) }

/** One schedule. */
export async function schedule(seed: number, tally: Tally, broken?: Broken): Promise<void> {
  const next = random(seed)
  const steps = new Schedule(next)
  const halves = next() < 0.5
  const world = new RaceWorld({ next, schedule: steps, halves, broken })
  const crowd = new Crowd(world, next, tally)
  const count = 2 + Math.floor(next() * 2)
  await steps.run(Promise.all(Array.from({ length: count }, (_, i) => crowd.live(`process ${i + 1}`))), () =>
    crowd.killSome(),
  )
  // Whoever starts last settles what the killed have left.
  await steps.run(crowd.settle('the last one'))
  await check(world, crowd, tally)
  tally.add(halves ? 'schedules with records in two files' : 'schedules with whole records')
  tally.add('steps', steps.tick)
}

/** The processes of a race, and what their applications know. */
class Crowd {
  readonly acknowledged = new Map<string, Wish>()
  readonly wishes = new Map<string, Wish>()
  readonly #world: RaceWorld
  readonly #next: () => number
  readonly #tally: Tally
  readonly #alive = new Map<string, () => void>()
  #writes = 0

  constructor(world: RaceWorld, next: () => number, tally: Tally) {
    this.#world = world
    this.#next = next
    this.#tally = tally
  }

  /** A process from its start to its end; where it is killed, another one takes its place. */
  async live(name: string): Promise<void> {
    const killed = new Promise<'killed'>((resolve) => this.#alive.set(name, () => resolve('killed')))
    const outcome = await Promise.race([this.#life(name), killed])
    this.#alive.delete(name)
    if (outcome === 'killed' && this.#next() < 0.5) await this.live(`${name}'`)
  }

  killSome(): void {
    for (const [name, killed] of this.#alive) {
      if (this.#next() >= KILLS) continue
      this.#world.options.schedule.kill(name)
      this.#tally.add('kills')
      killed()
    }
  }

  async settle(name: string): Promise<void> {
    const process = await RaceProcess.start(name, this.#world, skewed(this.#next))
    await process.settle()
    await process.close()
  }

  async #life(name: string): Promise<void> {
    const process = await RaceProcess.start(name, this.#world, skewed(this.#next))
    const settling = process.settle()
    const lanes = 1 + Math.floor(this.#next() * 2)
    await Promise.all([settling, ...Array.from({ length: lanes }, () => this.#lane(process))])
    await process.close()
  }

  async #lane(process: RaceProcess): Promise<void> {
    const writes = 1 + Math.floor(this.#next() * 3)
    for (let i = 0; i < writes; i++) {
      const wish = this.#wish()
      this.wishes.set(wish.name, wish)
      if (await process.write(wish)) this.acknowledged.set(wish.name, wish)
    }
  }

  #wish(): Wish {
    const name = `write ${++this.#writes}`
    const item = ITEMS[Math.floor(this.#next() ** 2 * ITEMS.length)] ?? { kind: 'record', resource: 'r', id: 'x' }
    const kind = this.#next()
    // Now and then the same value again, which changes nothing.
    const value = kind < 0.2 ? null : kind < 0.35 ? 'again' : name
    const luck = this.#next()
    const fails = luck < 0.06 ? 'before' : luck < 0.12 ? 'after' : null
    return { name, item, value, isInsert: value !== null && this.#next() < 0.3, fails }
  }
}

/** A clock hours away from all others, that jumps now and then. */
function skewed(next: () => number): Clock {
  let now = 1_760_000_000_000 + (next() - 0.5) * HOUR_MS
  return {
    now: () => {
      now += next() < 0.02 ? (next() - 0.5) * HOUR_MS : next() * 3
      return now
    },
    sleep: () => Promise.resolve(),
    // Whoever looks again later looks after the race.
    idle: () => new Promise(() => {}),
  }
}

interface Found {
  readonly ulid: string
  readonly transaction: string | null
  readonly after: string
}

async function check(world: RaceWorld, crowd: Crowd, tally: Tally): Promise<void> {
  const events = new Map<string, Found[]>(ITEMS.map(({ id }) => [id, []]))
  for await (const [id, event] of everyEvent(world)) events.get(id)?.push(event)
  const named = new Map<string, string>()
  for (const item of ITEMS) {
    const last = (events.get(item.id) ?? []).reduce<Found | null>(
      (a, b) => (a === null || b.ulid > a.ulid ? b : a),
      null,
    )
    const held = show(world.stateOf(item))
    const told = last?.after ?? show(null)
    if (told !== held) throw new Error(`the database holds ${held} at ${item.id}, the last event says ${told}`)
    for (const { transaction, after } of events.get(item.id) ?? []) {
      tally.add(transaction === null ? 'observations' : 'events')
      if (transaction !== null) named.set(transaction, after)
    }
  }
  for (const [name, { value }] of crowd.acknowledged) {
    tally.add('acknowledged writes')
    const isNothing = value === null || value === 'again'
    if (!named.has(name) && !isNothing) throw new Error(`${name} was acknowledged and is in no journal`)
  }
  for (const [name, after] of named) {
    const value = crowd.wishes.get(name)?.value ?? null
    // Where the same content was there already, nobody can tell whose it is.
    if (world.refused.has(name) && value !== 'again') throw new Error(`${name} was refused and is an event`)
    const said = value === null ? show(null) : show({ json: bytesOf({ first: value, second: value }), raw: null })
    if (after !== said) throw new Error(`${name} wrote ${said} and its event says ${after}`)
  }
}

function bytesOf(value: object): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value)))
}

/** Every event in every journal, by record id: read frame by frame, without the code that replays. */
async function* everyEvent(world: RaceWorld): AsyncGenerator<[string, Found]> {
  for (const { log } of world.streams) {
    for await (const bytes of log.read(1)) {
      const cursor = new EventCursor(decodeFrame(bytes).events)
      while (cursor.next()) {
        const text = (field: number): string | null => {
          const value = cursor.field(field)
          return value === null ? null : Buffer.from(value).toString()
        }
        const json = cursor.field(FIELD.afterJson)
        const after = show(json === null ? null : { json: Uint8Array.from(json), raw: null })
        const ulid = Buffer.from(cursor.ulidBytes).toString()
        yield [text(FIELD.id) ?? '', { ulid, transaction: text(FIELD.transaction), after }]
      }
    }
  }
}
