import { cpSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pino } from 'pino'
import type { Clock } from '../../src/base/clock.ts'
import type { Logger } from '../../src/base/log.ts'
import { RecordKeys } from '../../src/capture/record-keys.ts'
import { Archive } from '../../src/engine/archive.ts'
import type { Completion } from '../../src/engine/completion.ts'
import type { OpenStore } from '../../src/engine/opening.ts'
import { Session } from '../../src/engine/session.ts'
import { claimStore } from '../../src/engine/store-file.ts'
import type { Ack } from '../../src/engine/streams.ts'
import { View } from '../../src/engine/view.ts'
import type { StoreFile } from '../../src/format/store-file.ts'
import type { Moment } from '../../src/restore/moment.ts'
import { errnoOf } from '../../src/store/filesystem-errors.ts'
import { RequestMeter } from '../../src/store/meter.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { type Verification, verifyStore } from '../../src/upkeep/verify.ts'
import { show } from './arbitrary.ts'
import { keyOf, type ModelDatabase } from './model-database.ts'

/** What a capture is made over. */
export interface RigOptions {
  readonly store: ObjectStore
  readonly database: ModelDatabase
  /** Of the journals. */
  readonly directory: string
  readonly clock: Clock
  readonly ack?: Ack
  readonly seal?: {
    readonly events?: number
    readonly bytes?: number
    readonly ageMs?: number
    readonly closeMs?: number
  }
  readonly limitBytes?: number
  readonly whenFull?: 'refuse' | 'shed'
  /** Bytes that replay may use. */
  readonly memory?: number
  /** Of the keyring, with which images are sealed; absent: they are stored as they are. */
  readonly keys?: ObjectStore
}

/** The engine over any store, which `Tidemark.open` takes by its URL only. */
export interface Rig {
  readonly session: Session
  readonly archive: Archive
  readonly timeline: TimelineLog
  /** What was logged, newest last. */
  readonly logged: string[]
}

/** Nobody else holds anything. */
export const ALL_TOLD: Completion = { undecided: [], unheard: [] }

const FILE: StoreFile = {
  format: 2,
  id: '01KAJ0QZX3N5V7E8T9RYBWDCFG',
  database: 'model://test',
  createdAt: '2026-01-01T00:00:00.000Z',
  storeKey: null,
  recordKeys: false,
}

/** Opens and starts a capture. */
export async function openRig(options: RigOptions): Promise<Rig> {
  const { store, database, directory, clock, ack = 'journal', seal = {} } = options
  const { limitBytes = 1e9, whenFull = 'refuse', memory = 1e7, keys } = options
  const logged: string[] = []
  const log = memoryLogger(logged)
  await claimStore(store, 'test', database.identity, async () => ({ file: fileWith(keys), undo: async () => {} }))
  const timeline = await TimelineLog.open(store)
  const recordKeys = recordKeysOf(timeline, keys)
  await recordKeys?.create()
  const { requests } = new RequestMeter(clock)
  const seams = {
    requests: () => requests,
    store,
    encrypt: false,
    timeline,
    recordKeys,
    source: database,
    clock,
    log,
    directory,
    ack,
    seal,
    limitBytes,
    whenFull,
  }
  const session = await Session.open(seams)
  session.start()
  const complete = async (through: string | null): Promise<Completion> => {
    await session.complete(through)
    return ALL_TOLD
  }
  const archive = new Archive({
    ...openedAs(store, keys),
    timeline,
    recordKeys,
    clock,
    memory,
    complete,
    own: session,
  })
  return { session, archive, timeline, logged }
}

/** A store that is not encrypted. */
export function openedAs(store: ObjectStore, keys?: ObjectStore): OpenStore {
  return { store, stored: store, name: 'test', file: fileWith(keys), storeKey: null, slots: [] }
}

function fileWith(keys: ObjectStore | undefined): StoreFile {
  return { ...FILE, recordKeys: keys !== undefined }
}

/** The record keys of the store of a rig. */
function recordKeysOf(timeline: TimelineLog, keys: ObjectStore | undefined): RecordKeys | null {
  return keys === undefined ? null : new RecordKeys({ keys, name: 'the keys', store: FILE.id, timeline })
}

/** Reads a store in which nobody writes, or `complete` brings in what others do. */
export async function openReader(
  store: ObjectStore,
  clock: Clock,
  keys?: ObjectStore,
  complete: (through: string | null) => Promise<Completion> = async () => ALL_TOLD,
): Promise<{ archive: Archive; timeline: TimelineLog }> {
  const timeline = await TimelineLog.open(store)
  return {
    timeline,
    archive: new Archive({
      ...openedAs(store, keys),
      timeline,
      recordKeys: recordKeysOf(timeline, keys),
      clock,
      memory: 1e7,
      complete,
      own: null,
    }),
  }
}

/** The state at a moment, as text by item. */
export async function stateAt(archive: Archive, moment: Moment): Promise<Map<string, string>> {
  const state = new Map<string, string>()
  for await (const one of new View(archive, moment).states()) state.set(keyOf(one), show(one.image))
  return state
}

/** The database as it is now. */
export function liveState(database: ModelDatabase): Map<string, string> {
  return new Map([...database.items_.values()].map(({ item, image }) => [keyOf(item), show(image)]))
}

export async function verify(archive: Archive): Promise<Verification> {
  const { timeline } = await archive.refresh()
  return verifyStore(archive.sources, timeline)
}

/**
 * What a crash leaves of the journals: a copy that no process has locked. Made in one go, as what would be written
 * between two files is what no crash leaves; a file that a removal under way takes from under the copy is why it may
 * begin again.
 */
export function copyJournals(from: string, to: string): void {
  const filter = (name: string): boolean => !/^(door|draft)\./.test(basename(name))
  for (let attempt = 0; ; attempt++) {
    try {
      cpSync(from, to, { recursive: true, filter })
      break
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || attempt >= 20) throw error
      rmSync(to, { recursive: true, force: true })
    }
  }
  for (const stream of readdirSync(to)) {
    for (const name of readdirSync(join(to, stream))) {
      if (!name.endsWith('.journal')) rmSync(join(to, stream, name))
    }
  }
}

/** A logger that keeps its lines. */
export function memoryLogger(lines: string[]): Logger {
  return pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
}
