import { hasCode } from '../../src/base/errors.ts'
import { EVENT_COLUMNS, eventsOf } from '../../src/format/segment/events.ts'
import type { Event, Image, Item } from '../../src/model/event.ts'
import { previousUlid, type Ulid } from '../../src/model/ulid.ts'
import { gapsOf } from '../../src/restore/gaps.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { reachOf } from '../../src/restore/reach.ts'
import { replay } from '../../src/restore/replay.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { show } from './arbitrary.ts'
import { allSegments } from './catalogue.ts'
import { keyOf } from './model-database.ts'
import type { SimulatedProcess, World } from './simulated-process.ts'
import { assert, assertState, type State, stateAfter } from './truth.ts'

const ITEMS: readonly Item[] = [
  { kind: 'schema', resource: 'users', id: '' },
  { kind: 'object', resource: 'users', id: 'sequence=id/value' },
  ...['u1', 'u/2', '', '__proto__', 'é\u{1f600}', 'u6'].map((id): Item => ({ kind: 'record', resource: 'users', id })),
  ...['1', '2', '3'].map((id): Item => ({ kind: 'record', resource: 'log', id })),
]
const WRITERS = 3
/** Of the lowest level, and a little more. */
const WINDOW_MS = 310_000
const MOMENTS = 3

/** What an application does, from a seed. */
export class Workload {
  readonly #next: () => number
  readonly #world: World
  #writes = 0

  constructor(next: () => number, world: World) {
    this.#next = next
    this.#world = world
  }

  /** Some bursts of writes by several writers at once, with a quiet moment after each, now and then a snapshot. */
  async bursts(process: SimulatedProcess, count: number): Promise<void> {
    for (let burst = 0; burst < count; burst++) {
      const count = (): number => 1 + Math.floor(this.#next() * 4)
      const writes = Promise.all(Array.from({ length: WRITERS }, () => this.#writer(process, count())))
      await (this.#world.storm?.during(process, writes) ?? writes)
      this.#world.truth.quiet()
      assert(process.lagMs >= 0, 'the lag is negative')
      const step = this.#next()
      if (step < 0.5) await process.seal()
      if (step < 0.15) await snapshot(process, this.#world)
      if (step > 0.7 && step < 0.9) await merge(process, this.#world)
      if (step > 0.85) await forgetGenerations(process.sources.store, process.timeline, { kept: 3, least: 1 })
    }
  }

  /** Writes until none is under way, none left to be sealed. */
  async during(process: SimulatedProcess): Promise<void> {
    await this.#writer(process, 2)
    await process.sealer.seal()
  }

  async #writer(process: SimulatedProcess, writes: number): Promise<void> {
    for (let i = 0; i < writes; i++) {
      const first = Math.floor(this.#next() * ITEMS.length)
      const several = this.#next() < 0.15
      const items = ITEMS.slice(first, first + (several ? 3 : 1))
      const name = `write ${++this.#writes}`
      const images = items.map(() => this.#image(name))
      const fails = this.#next() < 0.05
      try {
        await process.write(name, items, images, fails)
      } catch (error) {
        if (process.tree.isOff) throw error
        const isRefused = hasCode(error, 'JOURNAL_FULL', 'JOURNAL_FAILED')
        if (isRefused) this.#world.truth.refused(name)
        if (isRefused) this.#world.storm?.refused()
        if (!fails && !isRefused) throw error
      }
    }
  }

  #image(name: string): Image | null {
    if (this.#next() < 0.2) return null
    const padding = 'x'.repeat(Math.floor(this.#next() ** 4 * 2500))
    // Now and then the same image again, which is no change.
    const label = this.#next() < 0.1 ? 'again' : name
    const json = Buffer.from(JSON.stringify(label === 'again' ? { label } : { label, padding }))
    return { json: new Uint8Array(json), raw: this.#next() < 0.5 ? messagePack(label) : null }
  }
}

/** A text of up to 255 bytes: the same raw image means the same object. */
function messagePack(text: string): Uint8Array {
  return new Uint8Array([0xd9, text.length, ...Buffer.from(text)])
}

async function snapshot(process: SimulatedProcess, { database }: World): Promise<void> {
  await process.seal()
  const { latest } = reachOf(process.timeline.timeline)
  if (latest === null) return
  const plan = await planRestore(process.sources.nodes, process.timeline.timeline, latest)
  await takeSnapshot(process.sources, process.timeline, plan, database.identity)
}

/** Merges what was written until a window is over, into files that are small. */
async function merge(process: SimulatedProcess, { clock, pass }: World): Promise<void> {
  pass(WINDOW_MS)
  await process.seal()
  const { timeline, sources } = process
  const { store } = sources
  const write: CompactionSeams['write'] = (request, onFile) => writeRun(store, { ...request, fileBytes: 2000 }, onFile)
  const { merges } = await compact({ store, timeline, clock, memory: 1e7, write }, { graceMs: WINDOW_MS })
  process.merged += merges.length
}

/** Checks everything that a store holds against the truth; the process has settled and sealed what there was. */
export async function check(process: SimulatedProcess, { truth }: World, next: () => number): Promise<void> {
  const { timeline } = process.timeline
  const { damage } = await verifyStore(process.sources, timeline)
  assert(damage.length === 0, `damaged: ${damage[0]?.key}: ${damage[0]?.message}`)
  assert(gapsOf(timeline).length === 0, 'the history has a gap')
  const events = await everyEvent(process)
  truth.check(events, timeline.generation)
  assert(events.length === truth.changes, `${events.length} events instead of ${truth.changes}`)

  const { earliest, latest } = reachOf(timeline)
  assert(earliest !== null && latest !== null, 'nothing is reachable')
  assertState(await stateAt(process, latest), truth.state, 'latest')
  for (const { changes, state } of sample(truth.instants, next)) {
    const last = events[changes - 1]?.stamp.ulid
    const following = events[changes]?.stamp.ulid
    if (last === undefined || last < earliest) continue
    assertState(await stateAt(process, last), state, `after event ${changes}`)
    if (following !== undefined) {
      assertState(await stateAt(process, previousUlid(following)), state, `before event ${changes + 1}`)
    }
  }
  for (const { stamp } of sample(events, next)) {
    if (stamp.ulid < earliest) continue
    const expected = stateAfter(truth.initial, events, stamp.sequence)
    assertState(await stateAt(process, stamp.ulid), expected, `event ${stamp.sequence}`)
  }
}

/** Every event of the store in the order of the sequences. */
async function everyEvent({ timeline, sources }: SimulatedProcess): Promise<Event[]> {
  const events: Event[] = []
  for (const entry of await allSegments(sources.store, timeline.timeline)) {
    const reader = await sources.segments.open(entry)
    for (const index of reader.rowGroups.keys())
      events.push(...eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS)))
  }
  return events.sort((a, b) => a.stamp.sequence - b.stamp.sequence)
}

/** The state at a stamp, as the engine replays it. */
async function stateAt({ timeline, sources }: SimulatedProcess, moment: Ulid): Promise<State> {
  const state = new Map<string, string>()
  const plan = await planRestore(sources.nodes, timeline.timeline, moment)
  for await (const batch of replay(sources, plan, {})) {
    for (const one of batch) state.set(keyOf(one), show(one.image))
  }
  return state
}

/** Some of a list, the last one always among them. */
function sample<T>(list: readonly T[], next: () => number): readonly T[] {
  if (list.length <= MOMENTS) return list
  const chosen = new Set([list.length - 1])
  while (chosen.size < MOMENTS) chosen.add(Math.floor(next() * list.length))
  return list.filter((_, i) => chosen.has(i))
}

/** A few items that are there before anything is captured. */
export function initialItems(next: () => number): { item: Item; image: Image }[] {
  return ITEMS.filter(() => next() < 0.5).map((item) => ({
    item,
    image: { json: new Uint8Array(Buffer.from(JSON.stringify({ label: 'initial' }))), raw: null },
  }))
}
