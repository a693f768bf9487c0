import type { Event, Image, Item } from '../../src/model/event.ts'
import { show } from './arbitrary.ts'
import { keyOf } from './model-database.ts'

/** A state of the whole database: what stands under each key, as text. */
export type State = ReadonlyMap<string, string>

/** Something that the database did. */
interface Done {
  readonly key: string
  readonly write: string
  readonly before: string
  readonly after: string
}

interface Asked {
  readonly begun: number
  acknowledged: number | null
}

/** A state that nobody was changing, and how many changes had led to it. */
export interface Instant {
  readonly changes: number
  readonly state: State
}

/**
 * What really happened, as the database and the application know it: the oracle. It is kept by assignment and shares
 * nothing with the engine but the form of an image.
 */
export class Truth {
  readonly initial: State
  readonly instants: Instant[] = []
  readonly #state: Map<string, string>
  readonly #done: Done[] = []
  readonly #asked = new Map<string, Asked>()
  readonly #sealed: { readonly events: number; readonly through: string }[] = []
  #tick = 0
  #generation = 0

  constructor(initial: Iterable<{ readonly item: Item; readonly image: Image }>) {
    this.#state = new Map([...initial].map(({ item, image }) => [keyOf(item), show(image)]))
    this.initial = new Map(this.#state)
  }

  get changes(): number {
    return this.#done.length
  }

  get acknowledged(): number {
    return [...this.#asked.values()].filter(({ acknowledged }) => acknowledged !== null).length
  }

  get state(): State {
    return this.#state
  }

  begun(write: string): void {
    this.#asked.set(write, { begun: ++this.#tick, acknowledged: null })
  }

  /** The database has done it, whatever anybody learns of it. */
  performed(write: string, item: Item, image: Image | null): void {
    const key = keyOf(item)
    const [before, after] = [this.#state.get(key) ?? '-', show(image)]
    if (before === after) return
    this.#done.push({ key, write, before, after })
    if (image === null) this.#state.delete(key)
    else this.#state.set(key, after)
  }

  acknowledge(write: string): void {
    const asked = this.#asked.get(write)
    if (asked !== undefined) asked.acknowledged = ++this.#tick
  }

  /** The application was told that nothing was done. Throws where something was. */
  refused(write: string): void {
    assert(
      this.#done.every((done) => done.write !== write),
      `${write} was refused and done`,
    )
  }

  /** Nobody writes now. */
  quiet(): void {
    this.instants.push({ changes: this.#done.length, state: new Map(this.#state) })
  }

  /** The store said that every event up to the stamp is in it: `events` in all. */
  reported(generation: number, events: number, through: string): void {
    this.#generation = Math.max(this.#generation, generation)
    this.#sealed.push({ events, through })
  }

  /** Throws where the events, by sequence, are not what was done, each once and whole; or contradict what was told. */
  check(events: readonly Event[], generation: number): void {
    assert(generation >= this.#generation, `generation ${this.#generation} of the timeline is gone`)
    this.#checkChanges(events)
    this.#checkStamps(events)
    for (const { events: count, through } of this.#sealed) {
      const late = events[count]
      assert(late === undefined || late.stamp.ulid > through, `event ${count + 1} came into a moment that was final`)
    }
  }

  #checkChanges(events: readonly Event[]): void {
    const expected = Map.groupBy(this.#done, ({ key }) => key)
    const found = Map.groupBy(events, keyOf)
    for (const key of new Set([...expected.keys(), ...found.keys()])) {
      const was = (expected.get(key) ?? []).map(({ write, before, after }) => `${write}: ${before} -> ${after}`)
      const is = (found.get(key) ?? []).map(
        ({ context, before, after }) => `${context.transaction}: ${show(before)} -> ${show(after)}`,
      )
      const at = was.findIndex((change, i) => change !== is[i])
      const where = at < 0 ? was.length : at
      assert(
        at < 0 && was.length === is.length,
        `change ${where} of ${key} was ${short(was[where])} and is ${short(is[where])}`,
      )
    }
  }

  /** Sequences without a gap, stamps that grow with them, and no write stamped before one that had been acknowledged. */
  #checkStamps(events: readonly Event[]): void {
    let last = ''
    let latestBegun = 0
    const begun = events.map(({ context }) => this.#asked.get(context.transaction ?? '')?.begun ?? 0)
    for (const [i, { stamp, context }] of events.entries()) {
      assert(stamp.sequence === i + 1, `event ${i + 1} has number ${stamp.sequence}`)
      assert(stamp.ulid > last, `event ${i + 1} is not stamped after the one before it`)
      last = stamp.ulid
      latestBegun = Math.max(latestBegun, begun[i] ?? 0)
      const { acknowledged } = this.#asked.get(context.transaction ?? '') ?? { acknowledged: null }
      if (acknowledged === null) continue
      assert(latestBegun < acknowledged, `${context.transaction} is stamped after a write that began when it was done`)
    }
  }
}

/** The state after the first `count` events, made by assignment. */
export function stateAfter(initial: State, events: readonly Event[], count: number): State {
  const state = new Map(initial)
  for (const event of events.slice(0, count)) {
    if (event.after === null) state.delete(keyOf(event))
    else state.set(keyOf(event), show(event.after))
  }
  return state
}

/** Long texts are padding for the most part. */
function short(text: string | undefined): string {
  return text === undefined ? 'missing' : text.replaceAll(/x{10,}/g, (padding) => `x * ${padding.length}`)
}

/** Throws with the first difference. */
export function assertState(found: State, expected: State, what: string): void {
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    const [is, was] = [found.get(key) ?? '-', expected.get(key) ?? '-']
    assert(is === was, `${what}: ${key} is ${short(is)} and was ${short(was)}`)
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
