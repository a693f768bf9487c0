import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { sha256 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { Journal } from '../../src/capture/journal.ts'
import type { Ack } from '../../src/engine/streams.ts'
import { timelineKey } from '../../src/format/keys.ts'
import type { Stamp } from '../../src/model/event.ts'
import type { SegmentEntry, StreamEntry, Timeline } from '../../src/model/timeline.ts'
import { type Ulid, ulidTime } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { catalogueNodes, madeGeneration } from '../../src/timeline/head.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { show } from './arbitrary.ts'
import { openRig, type Rig } from './capture-rig.ts'
import { allSegments } from './catalogue.ts'
import { keyOf, ModelDatabase, recordImage } from './model-database.ts'

/** What has an event: a write, or what a writer saw of another's. The truth is what the database was. */
export interface Written {
  readonly at: number
  readonly ulid: Ulid
  readonly key: string
  /** Null: deleted. */
  readonly image: string | null
  readonly stream: string
  readonly sequence: number
  lost: boolean
}

/** A process that writes. */
export interface Writer {
  readonly rig: Rig
  readonly ack: Ack
  readonly stream: string
  readonly database: ModelDatabase
}

/** How a process dies: its host goes on, or is gone with its disk; or the disk alone is. */
export type Death = 'killed' | 'killed, disk lost' | 'host lost'

/** No process has this number: Linux gives none above 4,194,304. */
const DEAD = 4_194_999
/** How many records it has. */
export const RECORDS = 10
/** A process that was alone has told stamps ahead of its clock: who starts before they are past stamps behind them. */
const TOLD_AHEAD_MS = 25

/** What one look at the clock takes, milliseconds: two processes that stamp in the same step do so one after the other. */
const LOOK_MS = 1e-3

/** A database, its writers and its store, at a time that all but stands still between two steps. */
export class World {
  readonly store: MemoryStore = new MemoryStore()
  readonly database: ModelDatabase = new ModelDatabase()
  readonly written: Written[] = []
  readonly writers: Writer[] = []
  readonly clock: Clock
  readonly #directory: string
  /** The journals of those who are dead. */
  readonly #ended: string
  readonly #gone: Rig[] = []
  readonly #initial = new Map<string, string>()
  /** Gives the journals back what tells of their stamps. */
  readonly #untold: () => void
  #now: number
  #looks = 0
  #values = 0

  constructor(directory: string, startMs: number) {
    this.#directory = directory
    this.#ended = `${directory}-ended`
    for (const path of [this.#directory, this.#ended]) mkdirSync(path, { recursive: true })
    this.#now = startMs
    const idle = (_ms: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    this.#untold = this.#hearStamps()
    this.clock = { now: () => this.#now + Math.min(0.999, LOOK_MS * this.#looks++), sleep: async () => {}, idle }
  }

  get now(): number {
    return this.#now
  }

  pass(ms: number): void {
    this.#now += ms
    this.#looks = 0
  }

  async fill(): Promise<void> {
    for (let i = 0; i < RECORDS; i++) await this.database.write(itemOf(i), recordImage({ initial: i }))
    for (const { item, image } of this.database.items_.values()) this.#initial.set(keyOf(item), show(image))
  }

  async start(ack: Ack): Promise<Writer> {
    this.pass(TOLD_AHEAD_MS)
    const database = new ModelDatabase(this.database.identity, this.database.items_)
    const { store, clock } = this
    const rig = await openRig({ store, database, directory: this.#directory, clock, ack, seal: { ageMs: 1e9 } })
    await rig.session.complete(null)
    const writer = { rig, ack, stream: rig.session.stream, database }
    this.writers.push(writer)
    return writer
  }

  async write({ database }: Writer, share: number, deletes: boolean): Promise<void> {
    const item = itemOf(Math.floor(share * RECORDS))
    const key = keyOf(item)
    const image = deletes && this.database.items_.has(key) ? null : recordImage({ value: ++this.#values })
    await database.write(item, image)
  }

  async stop(writer: Writer): Promise<void> {
    this.#forget(writer)
    await writer.rig.session.close()
  }

  /** The process ends where it stands; what only it had is lost. Returns whether its journal can still be read. */
  async kill(writer: Writer, death: Death): Promise<boolean> {
    this.#forget(writer)
    this.#gone.push(writer.rig)
    const { stream, ack } = writer
    const path = join(this.#directory, stream)
    const readable = ack === 'store' || (ack === 'journal' && death === 'killed')
    if (ack === 'journal') this.#leave(path, readable)
    const log = await TimelineLog.open(this.store)
    const timeline = await log.commit(({ streams }) => {
      const entry = streams.find(({ id }) => id === stream)
      if (entry === undefined) throw new Error(`stream ${stream} is not there`)
      // Its door is that of this process, which lives on.
      const { door: _, ...rest } = entry
      return {
        putStreams: [
          { ...rest, ...(death === 'host lost' ? { host: 'elsewhere', boot: 'elsewhere' } : { pid: DEAD }) },
        ],
      }
    })
    const entry = timeline.streams.find(({ id }) => id === stream)
    if (!readable) this.lose(({ stream: id, sequence }) => id === stream && sequence > (entry?.lastSequence ?? 0))
    return readable
  }

  lose(which: (write: Written) => boolean): void {
    for (const write of this.written) if (which(write)) write.lost = true
  }

  /** Makes the timeline another one, as if it had been made anew from a store in which something is missing. */
  async forge(change: (timeline: Timeline, segments: readonly SegmentEntry[]) => Timeline): Promise<void> {
    const { timeline } = await TimelineLog.open(this.store)
    const generation = timeline.generation + 1
    const previous = sha256(await this.store.get(timelineKey(timeline.generation)))
    const next = { ...change(timeline, await allSegments(this.store, timeline)), generation }
    const made = await madeGeneration(next, { sha256: previous }, catalogueNodes(this.store))
    for (const { key, bytes } of made.files) await this.store.put(key, bytes)
    await this.store.put(timelineKey(generation), made.bytes)
  }

  /** What the database was at a millisecond. */
  stateAt(at: number): Map<string, string> {
    const state = new Map(this.#initial)
    for (const write of this.written) {
      if (write.at > at) break
      if (write.image === null) state.delete(write.key)
      else state.set(write.key, write.image)
    }
    return state
  }

  /** The items whose last write until then was lost. */
  touchedAt(at: number): Set<string> {
    const touched = new Set<string>()
    for (const write of this.written) {
      if (write.at > at) break
      if (write.lost) touched.add(write.key)
      else touched.delete(write.key)
    }
    return touched
  }

  async close(): Promise<void> {
    this.#untold()
    for (const { rig } of this.writers) await rig.session.close()
    // What a dead process would still say goes unheard: another owns its stream, or its disk is gone.
    for (const { session } of this.#gone) await session.close().catch(() => undefined)
  }

  /**
   * A write may have more than one event: who writes a record that a process on another machine wrote too looks again, and
   * stamps what it sees. Which there are only the journals know.
   */
  #hearStamps(): () => void {
    const settle = Journal.prototype.settle
    const imageOf = (key: string): string | null => {
      const image = this.database.items_.get(key)?.image
      return image === undefined ? null : show(image)
    }
    const heard = (stamp: Stamp, key: string, image: string | null): void => {
      const { ulid, stream, sequence } = stamp
      this.written.push({ at: ulidTime(ulid), ulid, key, image, stream, sequence, lost: false })
      this.written.sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
    }
    Journal.prototype.settle = async function settleAndTell(outcomes) {
      const settling = settle.call(this, outcomes)
      // What is stamped in the background is durable, and heard of, a step later.
      const items = outcomes.map(({ change }) => (change === null ? null : keyOf(change)))
      const images = items.map((key) => (key === null ? null : imageOf(key)))
      const stamps = await settling
      for (const [i, stamp] of stamps.entries()) {
        const key = items[i] ?? null
        if (stamp !== null && key !== null) heard(stamp, key, images[i] ?? null)
      }
      return stamps
    }
    return () => {
      Journal.prototype.settle = settle
    }
  }

  #forget(writer: Writer): void {
    this.writers.splice(this.writers.indexOf(writer), 1)
  }

  /**
   * What a dead process leaves on its disk: the same files, which nobody holds. Its own are put aside, not removed: it is none,
   * and a journal that was removed would keep its end waiting.
   */
  #leave(path: string, kept: boolean): void {
    const aside = join(this.#ended, String(this.#gone.length))
    renameSync(path, aside)
    if (!kept) return
    cpSync(aside, path, { recursive: true, filter: (name) => !basename(name).startsWith('door.') })
    for (const name of readdirSync(path)) if (!name.endsWith('.journal')) rmSync(join(path, name))
  }
}

/** The entry of a stream, as the timeline has it. */
export function entryOf({ streams }: Timeline, stream: string): StreamEntry {
  const entry = streams.find(({ id }) => id === stream)
  if (entry === undefined) throw new Error(`stream ${stream} is not there`)
  return entry
}

/** A record of it, by its number. */
export function itemOf(record: number): { kind: 'record'; resource: string; id: string } {
  return { kind: 'record', resource: record % 2 === 0 ? 'even' : 'odd', id: String(record) }
}
