import type { Clock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Chain } from '../../src/capture/chain.ts'
import { openFileLog } from '../../src/capture/file-log.ts'
import { Findings } from '../../src/capture/findings.ts'
import { JournalBound } from '../../src/capture/journal-bound.ts'
import { NO_PEERS } from '../../src/capture/peers.ts'
import { Recorder } from '../../src/capture/recorder.ts'
import { Sealer } from '../../src/capture/sealer.ts'
import type { Source } from '../../src/capture/source.ts'
import { claimStore } from '../../src/engine/store-file.ts'
import { enterStreams } from '../../src/engine/stream-entries.ts'
import { type OwnedStream, openStream } from '../../src/engine/streams.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { Image, Item } from '../../src/model/event.ts'
import type { Timeline } from '../../src/model/timeline.ts'
import { needsBaseline } from '../../src/restore/gaps.ts'
import type { ReplaySources } from '../../src/restore/replay.ts'
import { Segments } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { makeDirectory } from '../../src/store/filesystem-tree.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { takeBaseline } from '../../src/upkeep/baseline.ts'
import type { ModelDatabase } from './model-database.ts'
import { type DiskLies, TreeDisk } from './simulated-disk.ts'
import { type FilesLies, TreeFiles } from './simulated-files.ts'
import { PowerCut, type SimulatedTree } from './simulated-tree.ts'
import type { Storm } from './storm.ts'
import type { Truth } from './truth.ts'

const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
const STORE = '01KAJ0QZX3N5V7E8T9RYBWDCFH'
const ENOUGH_TO_SEAL = 9

/** What outlives a process: the database, and what is known of it. */
export interface World {
  readonly database: ModelDatabase
  readonly truth: Truth
  readonly clock: Clock
  /** Lets so many milliseconds pass, in which nothing happens. */
  readonly pass: (ms: number) => void
  readonly broken: Broken
  /** Of the disk of the journal; null: what a test does without. */
  readonly storm: Storm | null
}

/** A build that is broken on purpose: for the test of the test. */
export interface Broken {
  readonly disk?: DiskLies
  readonly files?: FilesLies
  readonly store?: (store: ObjectStore) => ObjectStore
}

/**
 * One life of a capturing process on a simulated machine: what `Session` wires, over simulated files, with the real
 * parts. Nothing in it waits for a thread or a timer while anything else goes on, so that a seed is always the same run.
 */
export class SimulatedProcess {
  readonly tree: SimulatedTree
  readonly timeline: TimelineLog
  readonly sources: ReplaySources
  readonly sealer: Sealer
  /** Merges that it has made. */
  merged = 0
  readonly #world: World
  readonly #stream: OwnedStream
  readonly #recorder: Recorder

  private constructor(tree: SimulatedTree, world: World, store: ObjectStore, timeline: TimelineLog, own: OwnedStream) {
    this.tree = tree
    this.timeline = timeline
    this.#world = world
    this.#stream = own
    this.sources = {
      store,
      segments: new Segments(store),
      snapshots: new Snapshots(store),
      nodes: segmentNodes(store),
      memory: 1 << 26,
      scratch: () => new MemoryStore(),
      open: null,
    }
    const { clock, database } = world
    const bound = new JournalBound({
      journal: own.journal,
      clock,
      log: createLogger('silent'),
      limitBytes: 1 << 30,
      whenFull: 'refuse',
      reached: () => this.sealer.noticed(),
      resumed: () => {},
    })
    this.sealer = new Sealer(
      {
        store,
        timeline,
        journal: own.journal,
        encoder: {
          mostBytes: Number.POSITIVE_INFINITY,
          encode: async (stream, previous, regions) => ({ ...(await encoded(stream, previous, regions)), keyring: 0 }),
        },
        clock,
        log: createLogger('silent'),
        fenced: () => {},
        drained: () => bound.review(),
      },
      own.entry,
      { events: ENOUGH_TO_SEAL },
    )
    this.#recorder = new Recorder({
      journal: own.journal,
      bound,
      clock,
      noticed: () => this.sealer.noticed(),
      doubted: () => {},
      read: (item) => database.read(item),
      database,
      log: createLogger('silent'),
      peers: NO_PEERS,
      chain: new Chain({ isAloneSince: () => true, mark: () => own.journal.mark() }),
      findings: new Findings({ clock, log: createLogger('silent'), aloneSince: async () => true }),
    })
  }

  /** Opens the store and the journal; `recover` goes on from there. */
  static async open(tree: SimulatedTree, world: World): Promise<SimulatedProcess> {
    const { clock, broken, database } = world
    const files = new TreeFiles(tree, broken.files)
    const plain = new FilesystemStore('/store', clock, files)
    const store = broken.store?.(plain) ?? plain
    const createdAt = '2026-11-21T00:00:00.000Z'
    const file = {
      format: 2 as const,
      id: STORE,
      database: database.identity,
      createdAt,
      storeKey: null,
      recordKeys: false,
    }
    await claimStore(store, 'the store', database.identity, async () => ({ file, undo: async () => {} }))
    const timeline = await TimelineLog.open(store)
    await makeDirectory(files, '/journal')
    const disk = new TreeDisk(tree, broken.disk, world.storm?.weather)
    const log = await openFileLog({ disk, directory: '/journal', stream: STREAM, maxFileBytes: 6000 })
    const seams = { store, timeline: timeline.timeline, clock, ack: 'journal' as const, directory: '/journal' }
    const own = await openStream(seams, STREAM, { kind: 'disk', path: '/journal' }, log)
    await timeline.commit((now) => ({ putStreams: enterStreams(now, [own]) }))
    return new SimulatedProcess(tree, world, store, timeline, own)
  }

  /** Settles what an earlier process left open, takes the baseline where there is none, and seals the rest. */
  async recover(during: () => Promise<void>): Promise<void> {
    const { journal, recovered } = this.#stream
    this.#recorder.adopt(journal, recovered.openIntents)
    await this.#recorder.settleOpen()
    if (needsBaseline(this.timeline.timeline)) await this.#takeBaseline(during)
    await this.seal()
  }

  /** One captured write of some items, as an application would do it; they change one after the other. */
  async write(name: string, items: readonly Item[], images: readonly (Image | null)[], fails: boolean): Promise<void> {
    const { database, truth } = this.#world
    truth.begun(name)
    const perform = async (): Promise<void> => {
      for (const [i, item] of items.entries()) {
        await this.#turn()
        database.put(item, images[i] ?? null)
        truth.performed(name, item, images[i] ?? null)
      }
      await this.#turn()
      if (fails) throw new Error('the answer was lost')
    }
    const context = { actor: null, transaction: name, metadata: null }
    const read = (): Promise<readonly (Image | null)[]> => Promise.all(items.map((item) => database.read(item)))
    await this.#recorder.capture(items, context, { read, perform, after: () => images })
    truth.acknowledge(name)
  }

  async seal(): Promise<void> {
    await this.sealer.seal()
    this.#report()
  }

  async close(): Promise<void> {
    await this.sealer.close()
    this.#report()
    await this.#stream.release()
  }

  /** Tries again what the disk refused. */
  makeRoom(): Promise<void> {
    return this.#stream.journal.room.makeRoom()
  }

  /** Milliseconds that the oldest event has waited for the store. */
  get lagMs(): number {
    return this.#stream.journal.pending().ageMs
  }

  #report(): void {
    const { generation, streams }: Timeline = this.timeline.timeline
    const own = streams.find(({ id }) => id === STREAM)
    if (own !== undefined) this.#world.truth.reported(generation, own.lastSequence, own.sealedThrough)
  }

  async #takeBaseline(during: () => Promise<void>): Promise<void> {
    const { database } = this.#world
    const source: Source = {
      identity: database.identity,
      volatile: false,
      attach: (sink) => database.attach(sink),
      read: (item) => database.read(item),
      items: async function* () {
        for await (const items of database.items()) {
          const half = Math.ceil(items.length / 2)
          for (const part of [items.slice(0, half), items.slice(half)]) {
            await during()
            yield part
          }
        }
        await during()
      },
    }
    await takeBaseline({
      store: this.sources.store,
      timeline: this.timeline,
      source,
      recorder: this.#recorder,
      recordKeys: null,
      mark: () => this.#stream.journal.mark(),
      log: createLogger('silent'),
      seal: (through) => this.sealer.seal(through),
      signal: new AbortController().signal,
    })
  }

  /** The database is elsewhere: once this machine is off, it hears nothing more of it. */
  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    if (this.tree.isOff) throw new PowerCut()
  }
}

function encoded(stream: string, previous: string, regions: readonly Uint8Array[]): ReturnType<typeof encodeSegment> {
  const { bytes, info } = encodeSegment(regions, { stream, level: 0, previous })
  return { bytes: Uint8Array.from(bytes), info }
}
