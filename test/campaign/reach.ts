import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { TidemarkError } from '../../src/base/errors.ts'
import { Archive } from '../../src/engine/archive.ts'
import { type CompletionSeams, completeOthers } from '../../src/engine/completion.ts'
import { runDrills } from '../../src/engine/drill.ts'
import { endStream } from '../../src/engine/end-stream.ts'
import { acknowledgeGap } from '../../src/engine/gaps.ts'
import { reachableAt } from '../../src/engine/reachable.ts'
import { restoreInto } from '../../src/engine/restore.ts'
import type { Ack } from '../../src/engine/streams.ts'
import { openDirectoryTarget } from '../../src/engine/targets.ts'
import type { Timeline } from '../../src/model/timeline.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { gapsOf } from '../../src/restore/gaps.ts'
import type { Reach } from '../../src/restore/reach.ts'
import type { Verdict } from '../../src/restore/verdict.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { drillOnce } from '../../src/upkeep/drill.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { openedAs, stateAt } from '../support/capture-rig.ts'
import { allSegments, withoutRuns, withSegments } from '../support/catalogue.ts'
import { random } from '../support/random.ts'
import { Oracle } from '../support/reach-oracle.ts'
import { mergeSome, partsIn, pruneSome, unitsOf } from '../support/reach-upkeep.ts'
import { type Death, entryOf, World } from '../support/reach-world.ts'
import type { Campaign, Tally } from './campaign.ts'

const DATABASE = 'model://test'
const STEPS = 30
const MOMENTS = 10
const UPKEEP = 1_000_000
const START_MS = Date.UTC(2026, 10, 21)
const log = pino({ level: 'silent' })
const WHO = { reason: 'the disk is gone', name: 'ann' }

/** What a broken build forgets of the timeline: the campaign must catch it. */
export type Forget = (timeline: Timeline) => Timeline

interface ScenarioParts {
  readonly seed: number
  /** Of the journals, and for what is restored. */
  readonly directory: string
  readonly tally: Tally
  readonly forget: Forget
}

/** One history: writers that come, die and stay away, and what can be restored of it, asked again and again. */
class Scenario {
  readonly #world: World
  readonly #oracle: Oracle
  readonly #random: () => number
  /** Of what is merged and pruned. */
  readonly #next: () => number
  readonly #tally: Tally
  readonly #forget: Forget
  readonly #directory: string
  /** Streams that died and are open, and whether what they left can be read. */
  readonly #dead = new Map<string, boolean>()
  readonly #seams: CompletionSeams
  readonly #archive: Archive

  private constructor(world: World, timeline: TimelineLog, { seed, directory, tally, forget }: ScenarioParts) {
    this.#random = random(seed)
    this.#next = random(seed + UPKEEP)
    this.#directory = directory
    this.#tally = tally
    this.#forget = forget
    this.#world = world
    this.#oracle = new Oracle(world)
    this.#seams = { store: world.store, timeline, recordKeys: null, clock: world.clock, log, file: { id: 'journals' } }
    this.#archive = this.#reader(timeline)
  }

  static async open(parts: ScenarioParts): Promise<Scenario> {
    const world = new World(join(parts.directory, 'journals'), START_MS)
    await world.fill()
    await world.start('journal')
    return new Scenario(world, await TimelineLog.open(world.store), parts)
  }

  async run(): Promise<void> {
    const world = this.#world
    try {
      for (let step = 0; step < STEPS; step++) {
        world.pass(2 + Math.floor(this.#random() * 20))
        await this.#step()
        await this.#upkeep()
        if (this.#random() < 0.3) await this.#ask(this.#moment())
      }
      world.pass(5)
      for (let i = 0; i < MOMENTS; i++) await this.#ask(this.#moment())
      await this.#ask(world.now)
      await this.#ask(world.now + 1000)
      await this.#drill()
    } finally {
      this.#archive.close()
      await world.close()
    }
  }

  #reader(timeline: TimelineLog): Archive {
    const { store, clock } = this.#world
    const complete: Archive['seams']['complete'] = (through, wanted) =>
      completeOthers(this.#seams, null, through, wanted)
    const forget = this.#forget
    class Reader extends Archive {
      override async refresh(): Promise<{ timeline: Timeline; reach: Reach }> {
        const found = await super.refresh()
        return { ...found, timeline: forget(found.timeline) }
      }
    }
    return new Reader({ ...openedAs(store), timeline, recordKeys: null, clock, memory: 1e7, complete, own: null })
  }

  #timeline(): Promise<Timeline> {
    return this.#seams.timeline.refresh()
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#random() * from.length)]
  }

  #moment(): number {
    const { now, written } = this.#world
    const write = this.#pick(written)
    if (write === undefined || this.#random() < 0.5)
      return START_MS - 5 + Math.floor(this.#random() * (now - START_MS + 5))
    return write.at - 1 + Math.floor(this.#random() * 3)
  }

  async #step(): Promise<void> {
    const world = this.#world
    const writer = this.#pick(world.writers)
    const dice = this.#random()
    if (writer === undefined || (dice < 0.1 && world.writers.length < 3)) return this.#start()
    if (dice < 0.5) return this.#write(1 + Math.floor(this.#random() * 4))
    if (dice < 0.6) return writer.rig.session.complete(null)
    if (dice < 0.7) return this.#snapshot()
    if (dice < 0.74) return this.#baseline()
    if (dice < 0.77) return world.stop(writer)
    if (dice < 0.87) return this.#kill()
    if (dice < 0.91) return this.#loseSegment()
    if (dice < 0.96) return this.#acknowledge()
    return this.#end()
  }

  /** By numbers of its own: what the writers do is the same whether or not anything is merged and pruned beside them. */
  async #upkeep(): Promise<void> {
    const dice = this.#next()
    if (dice < 0.2) {
      const units = await mergeSome(this.#world, this.#next)
      this.#tally.add('segments and runs merged', units)
    } else if (dice < 0.35) {
      const past = this.#world.now - START_MS
      this.#tally.add('segments pruned', await pruneSome(this.#archive, past * (0.05 + 0.5 * this.#next())))
    }
  }

  async #start(): Promise<void> {
    const before = await this.#timeline()
    const noticed = [...this.#dead].filter(([stream, readable]) => {
      const { journal, host, state } = entryOf(before, stream)
      return !readable && journal.kind === 'memory' && host !== 'elsewhere' && state === 'open'
    })
    for (const [stream] of noticed) {
      this.#oracle.loseEnd(before, stream)
      this.#dead.delete(stream)
    }
    const { stream } = await this.#world.start(this.#pick<Ack>(['journal', 'memory', 'memory', 'store']) ?? 'journal')
    this.#tally.add('writers')
    this.#dead.delete(stream)
    const { streams } = await this.#timeline()
    // What it found of others before it, it has brought in.
    for (const { id, state } of streams) if (state === 'closed') this.#dead.delete(id)
  }

  async #write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const writer = this.#pick(this.#world.writers)
      if (writer === undefined) return
      this.#world.pass(2 + Math.floor(this.#random() * 5))
      await this.#world.write(writer, this.#random(), this.#random() < 0.25)
      this.#tally.add('writes')
    }
  }

  async #snapshot(): Promise<void> {
    const before = await this.#timeline()
    try {
      // The oracle knows milliseconds: where all are closed, the end of one is made the last moment.
      if (before.streams.every(({ state }) => state === 'closed')) await this.#archive.locate(this.#world.now)
      const { plan } = await this.#archive.reachLast()
      const known = await this.#timeline()
      if (known.snapshots.some(({ ulid }) => ulid === plan.moment)) return
      const { ulid, isNew } = await takeSnapshot(this.#archive.sources, this.#seams.timeline, plan, DATABASE)
      // Where nothing that could be read has happened since one, that one is given.
      if (!isNew) return
      this.#oracle.madeFromHistory(known, ulid)
      this.#tally.add(plan.except.length > 0 ? 'snapshots through gaps' : 'snapshots')
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'HISTORY_GAP') throw error
      assert.notEqual(this.#oracle.gaps(before).length, 0, 'a gap that is none')
    }
  }

  async #baseline(): Promise<void> {
    const writer = this.#pick(this.#world.writers)
    await writer?.rig.session.baseline()
    this.#tally.add('baselines')
  }

  async #kill(): Promise<void> {
    const writer = this.#pick(this.#world.writers)
    if (writer === undefined) return
    const death = this.#pick<Death>(['killed', 'killed', 'killed, disk lost', 'host lost']) ?? 'killed'
    this.#dead.set(writer.stream, await this.#world.kill(writer, death))
    this.#tally.add(`${writer.ack} ${death}`)
  }

  /** A segment, or a whole run, is gone, and the timeline is made anew without it. */
  async #loseSegment(): Promise<void> {
    const units = await unitsOf(this.#world, await this.#timeline())
    const gone = this.#pick(units)
    if (gone === undefined) return
    for (const { stream, firstSequence, lastSequence } of await partsIn(this.#world, [gone]))
      this.#world.lose((one) => one.stream === stream && one.sequence >= firstSequence && one.sequence <= lastSequence)
    const left = units.filter((unit) => unit !== gone)
    const parts = await partsIn(this.#world, left)
    await this.#world.forge((timeline) => withSegments(timeline, left.flat(), parts))
    this.#tally.add(gone.some((entry) => 'run' in entry) ? 'runs lost' : 'segments lost')
  }

  async #acknowledge(): Promise<void> {
    const gaps = this.#oracle.gaps(await this.#timeline()).filter((gap) => !this.#oracle.isAcknowledged(gap))
    const gap = this.#pick(gaps)
    if (gap === undefined) return
    const { stream, first: firstSequence, last: lastSequence } = gap
    await acknowledgeGap(this.#seams.timeline, this.#world.clock.now, { stream, firstSequence, lastSequence, ...WHO })
    this.#oracle.acknowledge(gap)
    this.#tally.add('gaps acknowledged')
    this.#world.pass(3)
    if (this.#random() < 0.7) await this.#snapshot()
  }

  async #end(): Promise<void> {
    const before = await this.#timeline()
    const stream = this.#pick([...this.#dead.keys()].filter((id) => entryOf(before, id).state === 'open'))
    if (stream === undefined) return
    const readable = this.#dead.get(stream) === true
    const { host, journal } = entryOf(before, stream)
    // A record that was not read again since its last event is left to who can read it.
    const { why } = await this.#archive.conditionOf(entryOf(before, stream))
    if (why?.includes('may have happened or not') === true) return
    const brought = readable && (journal.kind === 'store' || host !== 'elsewhere')
    if (!brought) {
      this.#oracle.loseEnd(before, stream)
      this.#world.lose((one) => one.stream === stream && one.sequence > entryOf(before, stream).lastSequence)
    }
    const loss = await endStream(this.#seams, { stream, ...WHO })
    assert.equal(loss === null, brought, `stream ${stream} ended with ${JSON.stringify(loss)}`)
    this.#dead.delete(stream)
    this.#tally.add(brought ? 'streams brought in' : 'streams ended')
  }

  /** One question: the verdict, what a restore does, and what is nearest. */
  async #ask(at: number): Promise<void> {
    const verdict = await reachableAt(this.#archive, at)
    const timeline = await this.#timeline()
    const expected = this.#oracle.verdict(timeline, at)
    const about = `at ${at - START_MS} ms of ${this.#world.now - START_MS}`
    assert.equal(verdict.verdict, expected.verdict, `${about}: ${JSON.stringify(verdict)}`)
    assert.equal(gapsOf(timeline).length, this.#oracle.gaps(timeline).length, `${about}: gaps`)
    this.#tally.add(`${verdict.verdict}${verdict.verdict === 'except' && !expected.goesOn ? ', refused' : ''}`)
    if (expected.goesOn) await this.#askState(at, verdict, about)
    else await this.#askRefusal(at, verdict, about)
    if (this.#oracle.wasPruned(timeline, at)) {
      assert.match(verdict.reason?.message ?? '', /was pruned on/, about)
      this.#tally.add('pruned')
    }
    if (verdict.verdict !== 'yes') this.#askNearest(timeline, at, verdict, about)
  }

  async #askState(at: number, { verdict, gaps }: Verdict, about: string): Promise<void> {
    const state = await stateAt(this.#archive, at)
    const truth = this.#world.stateAt(at)
    // Of what was written last by an event that is lost, nothing can be said.
    if (verdict === 'except') {
      assert.ok(gaps.length > 0 && gaps.every(({ acknowledged }) => acknowledged !== null), about)
      for (const key of this.#world.touchedAt(at)) {
        state.delete(key)
        truth.delete(key)
      }
    }
    assert.deepEqual([...state].sort(), [...truth].sort(), `${about}: the state of a moment that is ${verdict}`)
  }

  async #askRefusal(at: number, verdict: Verdict, about: string): Promise<void> {
    const refusal = await this.#archive.reach(at).then(
      () => null,
      (error: unknown) => error,
    )
    assert.ok(refusal instanceof TidemarkError, `${about}: a restore goes on`)
    if (verdict.verdict === 'no') assert.equal(refusal.message, verdict.reason?.message, about)
    else {
      assert.equal(refusal.code, 'HISTORY_GAP', about)
      assert.ok(
        verdict.gaps.some(({ acknowledged }) => acknowledged === null),
        about,
      )
    }
  }

  #askNearest(timeline: Timeline, at: number, { nearest }: Verdict, about: string): void {
    const whole = (ms: number): boolean => this.#oracle.verdict(timeline, ms).verdict === 'yes'
    const near = Math.min(at, this.#world.now + 1)
    let before = near - 1
    while (before >= START_MS - 10 && !whole(before)) before--
    let after = at + 1
    while (after <= this.#world.now && !whole(after)) after++
    const expected = {
      before: before < START_MS - 10 ? null : new Date(before).toISOString(),
      after: after > this.#world.now ? null : new Date(after).toISOString(),
    }
    assert.deepEqual(nearest, expected, `${about}: nearest`)
  }

  /** Drills of a good store pass; one that restored another moment, or from another's bytes, does not. */
  async #drill(): Promise<void> {
    const timeline = await this.#timeline()
    const moments: number[] = []
    for (let ms = START_MS; ms <= this.#world.now; ms++) if (this.#oracle.verdict(timeline, ms).goesOn) moments.push(ms)
    if (moments.length === 0) return
    const [proof] = await runDrills(this.#archive, { seed: Math.floor(this.#random() * 1e6) })
    assert.ok(proof?.passed, `a drill of a good store failed: ${JSON.stringify(proof)}`)
    this.#tally.add('drills passed')
    const [one, other] = [this.#pick(moments), this.#pick(moments)]
    if (one !== undefined && other !== undefined) await this.#drillWrong(timeline, one, other)
    await this.#drillSwapped(moments)
  }

  async #drillWrong(timeline: Timeline, at: number, restored: number): Promise<void> {
    const [wanted, other] = [await this.#archive.reach(at), await this.#archive.reach(restored)]
    const same =
      JSON.stringify([...(await stateAt(this.#archive, at))].sort()) ===
      JSON.stringify([...(await stateAt(this.#archive, restored))].sort())
    const path = join(this.#directory, 'wrong')
    const restore = async (): Promise<FilesystemStore> => {
      const target = openDirectoryTarget(path, { moment: other.bound.ulid, database: DATABASE })
      const run = {
        selection: {},
        overwrite: true,
        dryRun: false,
        onDifference: null,
        inPlace: null,
        onConflict: 'keep',
        onProgress: () => {},
      } as const
      await restoreInto(this.#archive, other, target, run).finally(() => target.close())
      return new FilesystemStore(path)
    }
    const ulid = new UlidGenerator(this.#world.clock.now).next()
    const { bound, plan } = wanted
    const run = { ulid, moment: bound.ulid, seed: null, timeline, plan, restore }
    const proof = await drillOnce(this.#archive.sources, this.#world.clock, run)
    assert.equal(proof.passed, same, `a drill that restored another moment: ${JSON.stringify(proof)}`)
    if (!same) this.#tally.add('wrong restores caught')
  }

  /** A segment in the place of a later one of its stream: whole in itself, and wrong. */
  async #drillSwapped(moments: readonly number[]): Promise<void> {
    const at = moments.at(-1)
    if (at === undefined) return
    const { plan } = await this.#archive.reach(at)
    const later = this.#pick(withoutRuns(plan.segments).filter(({ firstSequence }) => firstSequence > 1))
    const earlier = withoutRuns(await allSegments(this.#world.store, await this.#timeline())).find(
      (one) => one.stream === later?.stream && one.lastSequence < later.firstSequence,
    )
    if (later === undefined || earlier === undefined) return
    await this.#world.store.put(later.key, await this.#world.store.get(earlier.key))
    const reader = this.#reader(this.#seams.timeline)
    const [proof] = await runDrills(reader, { at })
    reader.close()
    assert.equal(proof?.passed, false, 'a drill passed over a segment in the place of another')
    this.#tally.add('swapped segments caught')
  }
}

/** The campaign; with `forget`, over a build that forgets something. */
export function reachCampaign(forget: Forget = (timeline) => timeline): Campaign {
  return {
    name: 'reach',
    seeds: 300,
    run: async (seed, tally) => {
      const directory = mkdtempSync(join(tmpdir(), 'reach-'))
      try {
        await (await Scenario.open({ seed, directory, tally, forget })).run()
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    },
  }
}
