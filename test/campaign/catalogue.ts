import assert from 'node:assert/strict'
import { isMissing } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { isNodeKey, nodeGeneration, parseTimelineKey } from '../../src/format/keys.ts'
import type { Loss } from '../../src/model/gap.ts'
import type { Head } from '../../src/model/head.ts'
import type { StreamSegment, Timeline, TimelineChange } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { lastForgotten } from '../../src/timeline/head.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachNode } from '../../src/timeline/segments.ts'
import { checkHead } from '../../src/upkeep/head.ts'
import { verifyGenerations } from '../../src/upkeep/verify/generations.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { sealedSegments } from '../support/catalogue.ts'
import { CommitBytes, MOST_COMMIT_BYTES } from '../support/commit-bytes.ts'
import { segment, streamOf } from '../support/many-segments.ts'
import { random } from '../support/random.ts'
import { Gone, TurnStore, Turns } from '../support/turn-store.ts'
import type { Campaign, Tally } from './campaign.ts'

const CRASHES = 0.003
/** As long as one of a segment may be. */
const FILTER = Buffer.alloc(LIMITS.filterBytes, 7).toString('base64')

/** Where so few generations stay, others may have let go of what somebody is reading: he has nothing then. */
async function ifGone(log: TimelineLog, { generation }: Timeline, error: unknown): Promise<readonly never[]> {
  if (!isMissing(error) || (await log.refresh()).generation === generation) throw error
  return []
}

/** What a build that is broken on purpose does to the store of each process. */
type Broken = (store: ObjectStore) => ObjectStore

/**
 * Several processes commit to one catalogue while others write segments again and let old generations go. Any of them sleeps
 * between two calls of the store for as long as it likes, or ends there. Then: what was acknowledged is there once, what was not
 * is there at most once, nothing that is named is missing, every head that anybody had still holds, and what nobody needs is gone.
 */
class Catalogue {
  readonly #next: () => number
  readonly #tally: Tally
  readonly #broken: Broken
  readonly #store = new MemoryStore()
  readonly #turns: Turns
  readonly #heads: Head[] = []
  /** By stream: how many segments were acknowledged. */
  readonly #acknowledged = new Map<string, number>()
  readonly #losses = new Map<number, boolean>()
  #names = 0
  /** Bytes of the largest commit. */
  #most = 0

  constructor(seed: number, tally: Tally, broken: Broken) {
    this.#next = random(seed)
    this.#tally = tally
    this.#broken = broken
    this.#turns = new Turns(this.#next, this.#next() < 0.5 ? CRASHES : 0)
  }

  async run(): Promise<void> {
    const rounds = 1 + Math.floor(this.#next() * 3)
    for (let round = 0; round < rounds; round++) {
      const actors = [
        ...Array.from({ length: 1 + Math.floor(this.#next() * 3) }, () => this.#writer()),
        this.#forgetter(),
        ...(this.#next() < 0.5 ? [this.#eraser()] : []),
        ...(this.#next() < 0.3 ? [this.#forgetter()] : []),
      ]
      const ended = Promise.all(actors)
      await Promise.race([this.#turns.drive(), ended])
      await ended
      assert(this.#most <= MOST_COMMIT_BYTES, `a commit has put ${this.#most} bytes`)
      await this.#check()
    }
  }

  /** A process: what it does with a log of its own. */
  #process(act: (log: TimelineLog, store: ObjectStore) => Promise<void>): Promise<void> {
    const turns = new TurnStore(this.#store, this.#turns, `p${++this.#names}`)
    const store = this.#broken(new CommitBytes(turns, (bytes) => this.#noteCommit(bytes)))
    return this.#turns.run(async () => {
      try {
        await act(await TimelineLog.open(store), store)
      } catch (error) {
        if (error instanceof Gone) this.#tally.add('crashes')
        throw error
      }
    })
  }

  #writer(): Promise<void> {
    const id = firstUlidAt(1_760_000_000_000 + ++this.#names)
    return this.#process(async (log) => {
      let count = 0
      const commits = 5 + Math.floor(this.#next() * 25)
      for (let n = 0; n < commits; n++) {
        if (this.#next() < 0.3) await this.#note(log)
        const added = 1 + Math.floor(this.#next() ** 3 * 30)
        const closes = n === commits - 1
        const wanted = count + added
        const change: TimelineChange = {
          putStreams: [streamOf(wanted, closes ? 'closed' : 'open', id)],
          addSegments: Array.from({ length: added }, (_, i) => ({
            ...segment(count + i, id),
            ...((count + i) % 5 === 0 ? { filter: FILTER } : {}),
          })),
        }
        const from = count
        await log.commit(({ streams }) => {
          const known = streams.find((stream) => stream.id === id)?.lastSequence ?? 0
          return known === from * 10 ? change : null
        })
        count = wanted
        this.#acknowledged.set(id, count)
        this.#noteHead(log)
      }
    })
  }

  /** A loss, which nothing but its number tells from others: made twice, it is there twice. */
  async #note(log: TimelineLog): Promise<void> {
    const at = firstUlidAt(1)
    const firstSequence = ++this.#names
    const loss: Loss = { stream: at, firstSequence, after: at, through: at, cause: 'ended', reason: 'x', by: null }
    this.#losses.set(firstSequence, false)
    await log.commit(() => ({ addLosses: [loss] }))
    this.#losses.set(firstSequence, true)
    this.#noteHead(log)
  }

  #noteCommit(bytes: number): void {
    this.#most = Math.max(this.#most, bytes)
  }

  #noteHead({ head }: TimelineLog): void {
    if (head !== null && this.#next() < 0.2) this.#heads.push(head)
    this.#tally.add('commits')
  }

  #forgetter(): Promise<void> {
    const kept = 1 + Math.floor(this.#next() * 12)
    return this.#process(async (log, store) => {
      for (let n = 0; n < 8; n++) {
        const { generations, files } = await forgetGenerations(store, log, { kept, least: 1 })
        this.#tally.add('generations forgotten', generations)
        this.#tally.add('files deleted', files)
      }
    })
  }

  /** Writes some segments again, as an erasure does. */
  #eraser(): Promise<void> {
    return this.#process(async (log, store) => {
      for (let n = 0; n < 4; n++) {
        const now = await log.refresh()
        const sealed = await sealedSegments(store, now).catch((error: unknown) => ifGone(log, now, error))
        // As many as may be written again in a commit: what it writes grows with them.
        const chosen = sealed.filter(() => this.#next() < 0.05).slice(0, 12)
        const nonce = String(++this.#names).padStart(8, '0')
        const segments = chosen.map((one) => ({
          key: one.key,
          by: { ...one, key: one.key.replace(/[0-9a-f]{8}\.parquet$/, `${nonce}.parquet`) },
        }))
        const ulid = firstUlidAt(1_770_000_000_000 + this.#names)
        const entry = {
          ulid,
          resource: 'r',
          mode: 'rewritten',
          reason: 'x',
          by: null,
          events: 1,
          snapshots: 0,
        } as const
        const began = now.erasures.length
        await log.commit(({ erasures }) =>
          erasures.length === began ? { erase: { entry, segments, snapshots: [] } } : null,
        )
        this.#tally.add('segments written again', segments.length)
      }
    })
  }

  async #check(): Promise<void> {
    const log = await TimelineLog.open(this.#store)
    const { timeline } = log
    if (timeline.generation === 0) return
    checkSegments(timeline, await sealedSegments(this.#store, timeline), this.#acknowledged)
    const found = timeline.losses.map(({ firstSequence }) => firstSequence)
    assert.equal(new Set(found).size, found.length, 'a change was made twice')
    for (const [loss, isKnown] of this.#losses) if (isKnown) assert(found.includes(loss), `change ${loss} was lost`)
    for (const head of this.#heads) await checkHead(this.#store, timeline, head)
    await this.#checkFiles(log)
    const kept = 3
    await forgetGenerations(this.#store, log, { kept, least: 1 })
    await this.#checkFiles(log)
    const last = lastForgotten(log.timeline)
    const { generations, nodes } = await this.#files()
    // Those that went are deleted with the next ones, where whoever let them go died of it.
    const stay = generations.filter((generation) => generation > last).length
    assert(stay <= kept + 1 || last === 0, `${stay} generations stay`)
    const named = await namesOf(log)
    // What the oldest that stays names stays as well.
    const dead = nodes.filter((key) => !named.has(key) && (nodeGeneration(key) ?? 0) <= last)
    assert(dead.length <= named.size + 40, `${dead.length} nodes that nobody needs stay`)
    this.#tally.add('checks')
  }

  async #checkFiles(log: TimelineLog): Promise<void> {
    const inspection = new Inspection(this.#store, () => {})
    const keys: string[] = []
    for await (const { key } of this.#store.list('')) keys.push(key)
    const { timeline } = log
    // What sleepers put among forgotten numbers is none of the generations.
    await verifyGenerations(inspection, keys, timeline)
    assert.deepEqual(inspection.damage, [])
    for (const key of await namesOf(log)) assert(keys.includes(key), `${key} is named and missing`)
  }

  async #files(): Promise<{ readonly generations: readonly number[]; readonly nodes: readonly string[] }> {
    const keys: string[] = []
    for await (const { key } of this.#store.list('')) keys.push(key)
    return { generations: keys.flatMap((key) => parseTimelineKey(key) ?? []), nodes: keys.filter(isNodeKey) }
  }
}

async function namesOf(log: TimelineLog): Promise<ReadonlySet<string>> {
  const named = new Set([...log.present.ledger.leaves.keys(), ...log.present.ledger.nodes.map(({ key }) => key)])
  for await (const { key } of eachNode(log.nodes.segments, log.timeline.segments)) named.add(key)
  return named
}

/** Every stream has its segments once, one behind the other, at least those that were acknowledged. */
function checkSegments(
  timeline: Timeline,
  segments: readonly StreamSegment[],
  acknowledged: ReadonlyMap<string, number>,
): void {
  const byStream = Map.groupBy(segments, ({ stream }) => stream)
  for (const [id, count] of acknowledged) {
    const own = (byStream.get(id) ?? []).map(({ firstSequence }) => firstSequence).sort((a, b) => a - b)
    assert(own.length >= count, `stream ${id} has ${own.length} segments of ${count} that were acknowledged`)
    assert.deepEqual(
      own,
      Array.from({ length: own.length }, (_, i) => i * 10 + 1),
    )
    const stream = timeline.streams.find((one) => one.id === id)
    assert.deepEqual([stream?.lastSequence, stream?.sealed], [own.length * 10, undefined])
  }
}

/** Processes that commit to one catalogue, sleep and die, while old generations go. */
export function catalogueCampaign(broken: Broken = (store) => store): Campaign {
  return { name: 'catalogue', seeds: 400, run: (seed, tally) => new Catalogue(seed, tally, broken).run() }
}
