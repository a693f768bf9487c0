import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { type Event, type Finding, type Image, type Item, type Source, Tidemark } from '../../src/index.ts'
import { show } from '../support/arbitrary.ts'
import { keyOf, ModelDatabase, recordImage } from '../support/model-database.ts'
import { random } from '../support/simulated-disk.ts'
import type { Campaign, Tally } from './campaign.ts'

/** States by item. */
type Model = Map<string, string>

/** The database as the engine is given it: as it is, or broken so that the campaign has something to catch. */
export type Broken = (database: Source) => Source

/**
 * Captured writes with uncaptured ones among them, restarts, and then a reconciliation: it must find exactly what an
 * oracle of its own knows, in the history and in the counts, and afterwards nothing.
 */
export function reconcileCampaign(broken: Broken = (database) => database): Campaign {
  return { name: 'reconcile', seeds: 300, run: (seed, tally) => run(seed, tally, broken) }
}

async function run(seed: number, tally: Tally, broken: Broken): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'reconcile-'))
  try {
    await new Scenario(seed, tally, directory, broken).run()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const RESOURCES = ['users', 'log', 'logs', 'ключ']
const IDS = ['a', 'a/b', 'a:b', '%2F', '__proto__', '', '漢', '\u{1f600}', 'x', 'y', 'z', 'null']

/** Turns of the event loop in which more than what is expected would be told. */
const LEAST_TURNS = 20
/** Waits of a few milliseconds for what is expected. */
const MOST_WAITS = 2000

class Scenario {
  readonly #random: () => number
  readonly #tally: Tally
  readonly #directory: string
  readonly #broken: Broken
  readonly #database: ModelDatabase
  /** What the history knows by what the application wrote, which is what it may say; the oracle. */
  readonly #captured: Model = new Map()
  readonly #items = new Map<string, Item>()
  /** Findings that the chain has to raise by itself, by item: what was last known and what was there. */
  readonly #chained: string[] = []
  readonly #raised: string[] = []
  #tidemark: Tidemark | null = null
  #counter = 0

  constructor(seed: number, tally: Tally, directory: string, broken: Broken) {
    this.#random = random(seed)
    this.#tally = tally
    this.#directory = directory
    this.#broken = broken
    this.#database = new ModelDatabase(`model://${seed}`)
  }

  async run(): Promise<void> {
    for (let i = 0; i < this.#below(12); i++) await this.#database.write(this.#item(), this.#image())
    await this.#start()
    for (const [key, { item, image }] of this.#database.items_) {
      this.#captured.set(key, show(image))
      this.#items.set(key, item)
    }
    await this.#open().flush()
    const rounds = 1 + this.#below(3)
    for (let round = 0; round < rounds; round++) await this.#round()
    await this.#open().close()
  }

  async #round(): Promise<void> {
    const steps = 3 + this.#below(25)
    /** What this process has written since its start: the chain knows these. */
    for (let step = 0; step < steps; step++) {
      const choice = this.#random()
      if (choice < 0.3) this.#around()
      else if (choice < 0.35) await this.#restart()
      else if (choice < 0.4) await this.#open().snapshot()
      else await this.#write()
    }
    await this.#toldOf(this.#chained.length)
    same(this.#raised.toSorted(), this.#chained.toSorted(), 'findings of the chain')
    if (this.#random() < 0.3) await this.#restart()
    await this.#reconcile()
  }

  /** A captured write. What was written around the capture before it is a finding where this process wrote the item last. */
  async #write(): Promise<void> {
    const item = this.#item()
    const key = keyOf(item)
    const [known, there] = [this.#captured.get(key) ?? '-', this.#live(key)]
    if (known !== there && this.#written.has(key)) {
      this.#chained.push(finding(item, known, there))
      this.#captured.set(key, there)
      this.#tally.add('found by the chain')
    }
    await this.#database.write(item, this.#random() < 0.25 ? null : this.#image())
    // A write that changes nothing, such as the deletion of what is gone, is no event.
    if (there !== this.#live(key)) {
      if (known !== there && !this.#written.has(key)) this.#tally.add('overwritten before it was found')
      this.#captured.set(key, this.#live(key))
      this.#written.add(key)
    }
    this.#tally.add('captured')
  }

  /** Items whose last event is of this process, since its start. */
  readonly #written = new Set<string>()

  /** A write that nobody captures. */
  #around(): void {
    const held = [...this.#database.items_.values()]
    const choice = this.#random()
    const one = held[this.#below(held.length)]
    if (choice < 0.35 && one !== undefined) {
      this.#database.put(one.item, null)
      this.#tally.add(`uncaptured delete of a ${one.item.kind}`)
    } else if (choice < 0.7 && one !== undefined) {
      this.#database.put(one.item, this.#image())
      this.#tally.add(`uncaptured update of a ${one.item.kind}`)
    } else {
      const item = this.#item()
      this.#tally.add(`uncaptured ${this.#database.items_.has(keyOf(item)) ? 'update' : 'insert'} of a ${item.kind}`)
      this.#database.put(item, this.#image())
    }
  }

  async #reconcile(): Promise<void> {
    const before = await this.#stateAt('latest')
    const moment = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 2))
    const expected = this.#differences()
    const only = this.#random() < 0.25 ? [RESOURCES[this.#below(RESOURCES.length)] ?? ''] : undefined
    if (only !== undefined) {
      const wanted = this.#differences((item) => only.includes(item.resource))
      same(await this.#found({ resources: only }), wanted, 'findings of one resource')
    }
    same(await this.#found({}), expected, 'findings')
    same([...before], [...(await this.#stateAt('latest'))], 'the history after only looking')
    same(await this.#found({ record: true }), expected, 'recorded findings')
    this.#tally.add('found by reconcile', expected.length)
    const live: Model = new Map([...this.#database.items_].map(([key, { image }]) => [key, show(image)]))
    same(sorted(await this.#stateAt('latest')), sorted(live), 'the state at latest')
    same(sorted(await this.#stateAt(moment)), sorted(before), 'the state before the reconciliation')
    await this.#eventsOf(expected)
    same(await this.#found({ record: true }), [], 'findings after recording')
    const { damage } = await this.#open().verify()
    same(damage, [], 'damage')
    this.#captured.clear()
    for (const [key, text] of live) this.#captured.set(key, text)
    for (const line of expected) this.#written.add(keyOf(JSON.parse(line).item))
  }

  async #found(options: { record?: boolean; resources?: readonly string[] }): Promise<string[]> {
    const found: string[] = []
    const started = this.#raised.length
    const result = await this.#open().reconcile({
      ...options,
      onFinding: (one) => {
        found.push(finding(one, show(one.before), show(one.after)))
      },
    })
    const kinds = { added: 0, changed: 0, removed: 0 }
    for (const line of found) {
      const { before, after } = JSON.parse(line)
      kinds[before === '-' ? 'added' : after === '-' ? 'removed' : 'changed']++
    }
    const { added, changed, removed, recorded, undecided } = result
    same({ added, changed, removed }, kinds, 'counts')
    same({ recorded, undecided }, { recorded: options.record === true ? found.length : 0, undecided: 0 }, 'recorded')
    if (options.record === true) {
      await this.#toldOf(started + found.length)
      this.#raised.length = started
    }
    return found.sort()
  }

  /** Nobody waits until a finding is told: the store is asked first. Too many are waited for as well. */
  async #toldOf(count: number): Promise<void> {
    for (let turn = 0; turn < LEAST_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve))
    for (let wait = 0; wait < MOST_WAITS && this.#raised.length < count; wait++)
      await new Promise((resolve) => setTimeout(resolve, 5))
  }

  /** Every recorded finding is the last event of its item, says that it was found, and when. */
  async #eventsOf(expected: readonly string[]): Promise<void> {
    for (const line of expected) {
      const { item, before, after } = JSON.parse(line)
      const { kind, resource, id }: Item = item
      const events: Event[] = []
      for await (const event of this.#open().history(resource, id, kind)) events.push(event)
      const [last, previous] = [events.at(-1), events.at(-2)]
      same([show(last?.before ?? null), show(last?.after ?? null)], [before, after], 'images of a found event')
      const { tidemark: note } = JSON.parse(last?.context.metadata ?? '{}')
      same([note.found, last?.context.actor], [true, null], 'the mark of a found event')
      const stamp = last?.stamp.ulid ?? ''
      if (!(note.after < note.before && note.before < stamp)) throw new Error(`no interval: ${JSON.stringify(note)}`)
      if (previous !== undefined && note.after < previous.stamp.ulid) throw new Error('the interval begins too early')
    }
  }

  #differences(chosen: (item: Item) => boolean = () => true): string[] {
    const lines: string[] = []
    for (const [key, item] of this.#items) {
      const [known, there] = [this.#captured.get(key) ?? '-', this.#live(key)]
      if (known !== there && chosen(item)) lines.push(finding(item, known, there))
    }
    return lines.sort()
  }

  async #stateAt(moment: 'latest' | number): Promise<Model> {
    const state: Model = new Map()
    for await (const one of this.#open().at(moment).states()) state.set(keyOf(one), show(one.image))
    return state
  }

  async #restart(): Promise<void> {
    await this.#open().close()
    // Also while nobody captures.
    if (this.#random() < 0.5) this.#around()
    await this.#start()
    this.#written.clear()
    this.#tally.add('restarts')
  }

  async #start(): Promise<void> {
    const { identity, volatile } = this.#database
    const broken = this.#broken(this.#database)
    this.#tidemark = await Tidemark.capture({
      store: `file:${this.#directory}/store`,
      source: broken === this.#database ? broken : { ...broken, identity, volatile },
      journal: `${this.#directory}/journal`,
      seal: { events: 1 + this.#below(20), ageMs: 20 },
      logger: pino({ level: 'silent' }),
    })
    this.#tidemark.onFinding((one: Finding) => this.#raised.push(finding(one, show(one.before), show(one.after))))
  }

  #open(): Tidemark {
    if (this.#tidemark === null) throw new Error('not open')
    return this.#tidemark
  }

  #live(key: string): string {
    return show(this.#database.items_.get(key)?.image ?? null)
  }

  #item(): Item {
    const choice = this.#random()
    const resource = RESOURCES[this.#below(RESOURCES.length)] ?? ''
    const item: Item =
      choice < 0.1
        ? { kind: 'schema', resource: this.#random() < 0.2 ? '' : resource, id: '' }
        : choice < 0.2
          ? { kind: 'object', resource, id: `sequence=${this.#below(3)}/value` }
          : { kind: 'record', resource, id: IDS[this.#below(IDS.length)] ?? '' }
    this.#items.set(keyOf(item), item)
    return item
  }

  #image(): Image {
    const value = { n: ++this.#counter, text: 'x'.repeat(this.#below(40)) }
    const raw = this.#random() < 0.6 ? new Uint8Array([0xcd, this.#counter >> 8, this.#counter & 255]) : null
    return recordImage(value, raw)
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }
}

function finding({ kind, resource, id }: Item, before: string, after: string): string {
  return JSON.stringify({ item: { kind, resource, id }, before, after })
}

function sorted(model: Model): [string, string][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1))
}

function same(found: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what}: ${a.slice(0, 2000)}, and not ${b.slice(0, 2000)}`)
}
