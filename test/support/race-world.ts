import type { Clock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Chain } from '../../src/capture/chain.ts'
import { Findings } from '../../src/capture/findings.ts'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { Journal } from '../../src/capture/journal.ts'
import { JournalBound } from '../../src/capture/journal-bound.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import type { Peers } from '../../src/capture/peers.ts'
import { Recorder } from '../../src/capture/recorder.ts'
import { OBSERVED } from '../../src/capture/settlement.ts'
import { type Context, fingerprint, type Image, type Item } from '../../src/model/event.ts'
import { MIN_ULID, type Ulid, UlidGenerator } from '../../src/model/ulid.ts'
import { recordImage } from './model-database.ts'
import type { Schedule } from './race-schedule.ts'
import { randomPace } from './random-pace.ts'

/** What is broken on purpose: for the test of the test. */
export type Broken = 'deaf' | 'mute' | 'reads before it tells' | 'reads nothing' | 'watches nothing'

/** How a race is set. */
export interface RaceOptions {
  readonly next: () => number
  readonly schedule: Schedule
  /** A record is two files, which are written and read one after the other. */
  readonly halves: boolean
  readonly broken?: Broken | undefined
}

/** A put, or a deletion (null), as an application asks for it. */
export interface Wish {
  readonly name: string
  readonly item: Item
  readonly value: string | null
  /** Fails where there is something already, like an insert. */
  readonly isInsert: boolean
  /** The answer is lost, after it was done or before. */
  readonly fails: 'before' | 'after' | null
}

interface Stream {
  readonly id: Ulid
  readonly log: MemoryLog
  owner: string | null
  told: readonly { readonly tick: number; readonly ulid: Ulid }[]
  isOver: boolean
}

/** A database, and what all processes see: who is there, what was told, and the journals, which outlive them. */
export class RaceWorld {
  readonly options: RaceOptions
  readonly streams: Stream[] = []
  /** Two halves of each record, `undefined` where there is no file. */
  readonly #cells = new Map<string, [string | undefined, string | undefined]>()
  /** Inserts that found something. */
  readonly refused: Set<string> = new Set<string>()

  constructor(options: RaceOptions) {
    this.options = options
  }

  /** What the database holds, read at one moment: what it will say for ever when nobody writes any more. */
  stateOf({ id }: Item): Image | null {
    const [first, second] = this.#cells.get(id) ?? []
    return first === undefined || second === undefined ? null : recordImage({ first, second })
  }

  async read(who: string, { id }: Item): Promise<Image | null> {
    const { schedule, halves } = this.options
    await schedule.step(who)
    const first = this.#cells.get(id)?.[0]
    if (halves) await schedule.step(who)
    const second = this.#cells.get(id)?.[1]
    await schedule.step(who)
    return first === undefined || second === undefined ? null : recordImage({ first, second })
  }

  async write(who: string, { name, item, value, isInsert, fails }: Wish): Promise<void> {
    const { schedule, halves } = this.options
    await schedule.step(who)
    if (fails === 'before') throw new Error('the answer was lost')
    const cells = this.#cells.get(item.id) ?? [undefined, undefined]
    this.#cells.set(item.id, cells)
    if (isInsert && cells[1] !== undefined) {
      this.refused.add(name)
      await schedule.step(who)
      throw new Error('refused')
    }
    cells[0] = value ?? undefined
    if (halves) await schedule.step(who)
    cells[1] = value ?? undefined
    await schedule.step(who)
    if (fails === 'after') throw new Error('the answer was lost')
  }
}

/** One capturing process: what a session wires, with a clock of its own that nobody else shares. */
export class RaceProcess {
  readonly name: string
  readonly #world: RaceWorld
  readonly #clock: Clock
  readonly #stream: Stream
  readonly #journal: Journal
  readonly #recorder: Recorder
  readonly #leftovers: { readonly stream: Stream; readonly journal: Journal }[] = []
  /** Since when the database has done what is stamped next; what an earlier process did, it did before this one began. */
  #performed: number

  private constructor(name: string, world: RaceWorld, clock: Clock, stream: Stream, journal: Journal) {
    this.name = name
    this.#world = world
    this.#clock = clock
    this.#stream = stream
    this.#journal = journal
    this.#performed = world.options.schedule.tick
    const log = createLogger('silent')
    const bound = new JournalBound({
      ...{ journal, clock, log, limitBytes: 1 << 30, whenFull: 'refuse' },
      ...{ reached: () => {}, resumed: () => {} },
    })
    const peers = this.#peers()
    this.#recorder = new Recorder({
      ...{ journal, bound, clock, log, peers, database: { volatile: false } },
      noticed: () => {},
      doubted: () => {},
      read: (item) => world.read(name, item),
      chain: new Chain({
        isAloneSince: (ulid) => peers.learn() <= ulid && !peers.isShared(),
        mark: () => journal.mark(),
      }),
      findings: new Findings({ clock, log, aloneSince: async () => true }),
    })
  }

  /** Starts a process: its own stream, made known to the others, and whatever those that were killed have left. */
  static async start(name: string, world: RaceWorld, clock: Clock): Promise<RaceProcess> {
    const { schedule } = world.options
    await schedule.step(name)
    const orphans = world.streams.filter(({ owner, isOver }) => !isOver && (owner === null || schedule.isDead(owner)))
    for (const orphan of orphans) orphan.owner = name
    const [own = newStream(name, world), ...leftovers] = orphans
    if (orphans.length === 0) world.streams.push(own)
    const pace = randomPace(world.options.next)
    const opened = await Journal.open({ log: stepped(own.log, name, schedule), stream: own.id, clock, pace })
    const process = new RaceProcess(name, world, clock, own, opened.journal)
    process.#adopt(opened.journal, opened.recovered.openIntents)
    for (const stream of leftovers) {
      const { journal, recovered } = await Journal.open({
        log: stepped(stream.log, name, schedule),
        stream: stream.id,
        clock,
        pace,
      })
      opened.journal.advanceTo(recovered.lastUlid)
      process.#adopt(journal, recovered.openIntents)
      process.#leftovers.push({ stream, journal })
    }
    return process
  }

  /** Settles what the killed ones have left; nothing more comes from their streams then. */
  async settle(): Promise<void> {
    await this.#recorder.settleOpen()
    for (const { stream, journal } of this.#leftovers) {
      await journal.flush()
      stream.isOver = journal.openIntents === 0
    }
  }

  /** Does a write as an application would; resolves with whether it was acknowledged. */
  async write(wish: Wish): Promise<boolean> {
    const { item, value, name } = wish
    const after = value === null ? null : recordImage({ first: value, second: value })
    const context: Context = { actor: this.name, transaction: name, metadata: null }
    const read = async (): Promise<readonly (Image | null)[]> => [await this.#world.read(this.name, item)]
    let isRefused = false
    const perform = async (): Promise<void> => {
      try {
        await this.#world.write(this.name, wish)
      } catch (error) {
        isRefused = error instanceof Error && error.message === 'refused'
        throw error
      } finally {
        this.#performed = this.#world.options.schedule.tick
      }
    }
    try {
      await this.#recorder.capture([item], context, {
        read: wish.isInsert ? async () => (isRefused ? read() : [null]) : read,
        isAssumed: wish.isInsert,
        meant: () => fingerprint(after),
        perform,
        after: () => [after],
        refused: () => isRefused,
      })
      return true
    } catch (error) {
      if (error instanceof Error && ['refused', 'the answer was lost'].includes(error.message)) return false
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#recorder.settleOpen()
    await this.#recorder.close()
    await this.#journal.flush()
    this.#stream.isOver = this.#journal.openIntents === 0
    this.#stream.owner = null
  }

  #adopt(journal: Journal, intents: Parameters<Recorder['adopt']>[1]): void {
    const forgets = this.#world.options.broken === 'watches nothing'
    this.#recorder.adopt(
      journal,
      intents.filter(({ context }) => !forgets || context.metadata !== OBSERVED.metadata),
    )
  }

  /**
   * What one process hears of the others. Between hearing and stamping there may be any pause, in which others tell: what
   * is heard is from any moment since the database had done the write; what is heard after telling is from now.
   */
  #peers(): Peers {
    const { broken, next, schedule } = this.#world.options
    const others = (): readonly Stream[] => this.#world.streams.filter((stream) => stream !== this.#stream)
    let told: Ulid | null = null
    const tell = (ulid: Ulid): void => {
      this.#stream.told = [...this.#stream.told, { tick: schedule.tick, ulid }]
    }
    return {
      learn: () => {
        if (broken === 'deaf') return MIN_ULID
        const isTold = this.#stream.told.at(-1)?.tick === schedule.tick
        const at = isTold ? schedule.tick : this.#performed + Math.floor(next() * (schedule.tick - this.#performed + 1))
        let most = MIN_ULID
        for (const { told: all } of others())
          for (const one of all) if (one.tick <= at && one.ulid > most) most = one.ulid
        return most
      },
      tell: (ulid) => {
        if (broken === 'mute') return
        if (broken === 'reads before it tells') {
          if (told !== null) tell(told)
          told = ulid
        } else tell(ulid)
      },
      isElsewhere: () => false,
      isShared: () => broken !== 'reads nothing' && others().some(({ isOver }) => !isOver),
    }
  }

  get clock(): Clock {
    return this.#clock
  }
}

let streams = 0

function newStream(owner: string, { options }: RaceWorld): Stream {
  const entropy = new Uint8Array(8).fill(++streams % 251)
  const id = new UlidGenerator(() => 1_760_000_000_000 + options.schedule.tick, entropy).next()
  return { id, log: new MemoryLog(), owner, told: [], isOver: false }
}

/** A journal whose appends are steps: a kill comes before or after one. It outlives its process. */
function stepped(log: MemoryLog, who: string, schedule: Schedule): FrameLog {
  return {
    missing: null,
    room: null,
    get range() {
      return log.range
    },
    append: async (frame) => {
      await schedule.step(who)
      await log.append(frame)
      await schedule.step(who)
    },
    read: (from) => log.read(from),
    trim: async () => 1,
    apart: () => {},
    close: async () => {},
  }
}
