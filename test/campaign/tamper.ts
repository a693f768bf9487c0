import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { timelineKey } from '../../src/format/keys.ts'
import type { Event } from '../../src/model/event.ts'
import { formatHead } from '../../src/model/head.ts'
import { isCutOff } from '../../src/restore/pruned.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { forgeEvents, forgeState } from '../support/forgery.ts'
import { BEGIN, SetClock } from '../support/kept-history.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { random } from '../support/simulated-disk.ts'
import type { Campaign, Tally } from './campaign.ts'

/*
 * An enemy who can write to the store and knows the format: after the change every checksum, hash and generation is
 * made anew. Either the chain is left as it was, or it is computed anew as well: then only a head that was noted
 * elsewhere can tell. The store is as others leave theirs: with segments that were merged, or are to be, snapshots, and a past
 * that was pruned.
 */
type Attack = 'change' | 'remove' | 'insert' | 'swap' | 'renumber'
const ATTACKS: readonly Attack[] = ['change', 'remove', 'insert', 'swap', 'renumber']
const MINUTE = 60_000
const OPENINGS = 3
const SEALS = 4

export const tamper: Campaign = { name: 'tamper', seeds: 200, run }

async function run(seed: number, tally: Tally): Promise<void> {
  const next = random(seed)
  const directory = mkdtempSync(join(tmpdir(), 'tamper-'))
  const kind = seed % 8
  try {
    // Who takes back generations finds the files of those before them: within the grace.
    const noted = await new Past(directory, next, tally).build(kind === 5 ? 'stay' : 'go')
    await expectClean(directory, noted, tally)
    if (kind === 5) await rollBack(directory, noted, next, tally)
    else if (kind > 5) await attackSnapshot(directory, noted, next, tally)
    else await attack(directory, noted, next, tally, ATTACKS[kind] ?? 'change')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A store with a few segments of several openings, of which some are merged, snapshots, and perhaps a past that was pruned. */
class Past {
  readonly #directory: string
  readonly #next: () => number
  readonly #tally: Tally
  readonly #clock = new SetClock()
  readonly #database = new ModelDatabase()
  readonly #noted: string[] = []
  #now = BEGIN

  constructor(directory: string, next: () => number, tally: Tally) {
    this.#directory = directory
    this.#next = next
    this.#tally = tally
  }

  /** Returns heads that were noted on the way. `replaced`: whether files go at once that others took the place of. */
  async build(replaced: 'go' | 'stay'): Promise<string[]> {
    const merges = this.#next() < 0.7
    const prunes = this.#next() < 0.5
    for (let opening = 0; opening < OPENINGS; opening++) {
      const tidemark = await this.#open()
      for (let seal = 0; seal < SEALS; seal++) await this.#work(tidemark, opening, seal)
      this.#pass(6 * MINUTE)
      await this.#write('always', opening)
      await tidemark.flush()
      if (this.#next() < 0.8) await this.#snapshot(tidemark)
      if (merges) await this.#merge(tidemark, replaced)
      if (prunes && opening === OPENINGS - 1) await this.#prune(tidemark, replaced)
      this.#noted.push(formatHead(await tidemark.head()))
      await tidemark.close()
    }
    return this.#some()
  }

  /** The first head and the last, and two between. */
  #some(): string[] {
    const between = this.#noted.slice(1, -1).sort(() => this.#next() - 0.5)
    const some = new Set([...this.#noted.slice(0, 1), ...between.slice(0, 2), ...this.#noted.slice(-1)])
    return this.#noted.filter((head) => some.has(head))
  }

  #open(): Promise<Tidemark> {
    const options = {
      store: `file:${this.#directory}/store`,
      source: this.#database,
      journal: `${this.#directory}/journal`,
      logger: createLogger('silent'),
    }
    return Tidemark.capture(options, this.#clock)
  }

  #pass(ms: number): void {
    this.#now += ms
    this.#clock.set(this.#now)
  }

  #write(id: string, n: number | null): Promise<void> {
    const image = n === null ? null : recordImage({ id, n, more: this.#next() })
    return this.#database.write({ kind: 'record', resource: 'r', id }, image)
  }

  async #work(tidemark: Tidemark, opening: number, seal: number): Promise<void> {
    this.#pass(MINUTE)
    for (let i = 0; i < 3 + this.#next() * 6; i++)
      await this.#write(`r${Math.floor(this.#next() * 4)}`, this.#next() < 0.2 ? null : i)
    await this.#write('always', opening * SEALS + seal)
    await tidemark.flush()
    this.#noted.push(formatHead(await tidemark.head()))
  }

  async #snapshot(tidemark: Tidemark): Promise<void> {
    await tidemark.snapshot()
    this.#tally.add('snapshots')
  }

  async #merge(tidemark: Tidemark, replaced: 'go' | 'stay'): Promise<void> {
    const { merges } = await tidemark.compact(replaced === 'go' ? { graceMs: 0 } : {})
    this.#tally.add('merges', merges.length)
  }

  async #prune(tidemark: Tidemark, replaced: 'go' | 'stay'): Promise<void> {
    const grace = replaced === 'go' ? '0ms' : '24h'
    const { plan } = await tidemark.retention.prune({ policy: { window: '12m' }, confirm: true, grace })
    this.#tally.add('segments pruned', plan.segments.length)
  }
}

async function damageOf(directory: string, head?: string): Promise<readonly { readonly key: string }[]> {
  const tidemark = await Tidemark.open({ store: `file:${directory}/store` })
  try {
    return (await tidemark.verify(head === undefined ? {} : { head })).damage
  } finally {
    await tidemark.close()
  }
}

async function expectClean(directory: string, noted: readonly string[], tally: Tally): Promise<void> {
  for (const head of noted) {
    const damage = await damageOf(directory, head)
    if (damage.length > 0) throw new Error(`a store as it was written is called damaged: ${JSON.stringify(damage)}`)
    tally.add('heads that hold')
  }
}

/** Takes the last generations away, and nothing else: what a copy from yesterday looks like. */
async function rollBack(directory: string, noted: readonly string[], next: () => number, tally: Tally): Promise<void> {
  const store = new FilesystemStore(`${directory}/store`)
  const { timeline } = await TimelineLog.open(store)
  const kept = Math.max(1, timeline.generation - 1 - Math.floor(next() * (timeline.generation - 1)))
  await store.delete(Array.from({ length: timeline.generation - kept }, (_, i) => timelineKey(kept + 1 + i)))
  for (const head of noted) {
    const seen = (await damageOf(directory, head)).length > 0
    if (seen !== Number.parseInt(head, 10) > kept) throw new Error(`rolled back to ${kept}: head ${head} says ${seen}`)
    tally.add(seen ? 'rollbacks seen' : 'heads before a rollback that hold')
  }
}

async function attack(
  directory: string,
  noted: readonly string[],
  next: () => number,
  tally: Tally,
  kind: Attack,
): Promise<void> {
  const rechained = next() < 0.5
  const store = new FilesystemStore(`${directory}/store`)
  const change = (events: readonly Event[]): readonly Event[] => forgeList(events, kind, next)
  const { key, isMerged } = await forgeEvents(store, { change, rechained, pick: picker(next) })
  const where = isMerged ? ' in a run' : ''
  const damage = await damageOf(directory)
  if (!rechained) {
    if (!damage.some((one) => one.key === key)) {
      throw new Error(`${kind}${where} was not named, of ${key}: ${JSON.stringify(damage)}`)
    }
    tally.add(`${kind} seen by the chain`)
    if (isMerged) tally.add('changes in runs seen')
    return
  }
  tally.add(`${kind} with a new chain seen`)
  if (isMerged) tally.add('changes in runs seen')
  if (damage.some((one) => one.key.startsWith('snapshot/'))) {
    // The history is whole, and gives another state than the snapshot that was made of it.
    tally.add('new chains seen by a snapshot')
    return
  }
  // Whoever made the whole history anew is found out by the last head at least; by all that were noted since.
  if (damage.length > 0) throw new Error(`the enemy of the test is not good enough: ${JSON.stringify(damage)}`)
  if ((await damageOf(directory, noted.at(-1))).length === 0)
    throw new Error(`${kind}${where} with a new chain was not seen`)
  tally.add('new chains seen by the head')
}

/** What is in a snapshot has to be what the one before it and the events give; of the first one only a head tells. */
async function attackSnapshot(
  directory: string,
  noted: readonly string[],
  next: () => number,
  tally: Tally,
): Promise<void> {
  const store = new FilesystemStore(`${directory}/store`)
  const { timeline } = await TimelineLog.open(store)
  const victim = await forgeState(store, picker(next), (state) => ({ ...state, image: recordImage({ evil: true }) }))
  if (victim === null) return tally.add('histories without a snapshot')
  const damage = await damageOf(directory)
  const isCompared = timeline.snapshots.some(
    (before) =>
      before.ulid < victim.ulid &&
      before.consistentFrom <= victim.ulid &&
      !isCutOff(timeline.pruned, before, victim.ulid),
  )
  if (damage.some(({ key }) => key.startsWith('snapshot/'))) return tally.add('forged snapshots seen')
  if (isCompared) throw new Error(`a forged image in ${victim.prefix} was not named: ${JSON.stringify(damage)}`)
  if (damage.length > 0) throw new Error(`the enemy of the test is not good enough: ${JSON.stringify(damage)}`)
  if ((await damageOf(directory, noted.at(-1))).length === 0) throw new Error('a forged snapshot was not seen')
  tally.add('forged snapshots seen by the head')
}

function picker(next: () => number): <T>(from: readonly T[]) => T | undefined {
  return (from) => from[Math.floor(next() * from.length)]
}

/** Events with the same first and last sequence, so that nothing but the chain can tell. */
function forgeList(events: readonly Event[], kind: Attack, next: () => number): Event[] {
  const at = 1 + Math.floor(next() * (events.length - 2))
  const list = [...events]
  const [victim, neighbour] = [list[at], list[at - 1]]
  if (victim === undefined || neighbour === undefined) throw new Error('too few events')
  const evil = { actor: 'evil', transaction: null, metadata: null }
  if (kind === 'change') list[at] = { ...victim, context: evil }
  if (kind === 'swap') {
    list[at] = { ...neighbour, stamp: victim.stamp }
    list[at - 1] = { ...victim, stamp: neighbour.stamp }
  }
  if (kind === 'renumber') list[at] = { ...victim, stamp: { ...victim.stamp, ulid: between(neighbour.stamp.ulid) } }
  // One taken away or put in, and a neighbour doubled or dropped so that the numbers still fit.
  if (kind === 'remove') list[at] = { ...neighbour, stamp: victim.stamp }
  if (kind === 'insert') list[at] = { ...victim, context: evil, id: `${victim.id}-forged`, stamp: victim.stamp }
  return list
}

/** A ULID just after another. */
function between(ulid: string): string {
  return `${ulid.slice(0, -1)}${ulid.endsWith('Z') ? 'Y' : 'Z'}`
}
