import type { Clock } from '../base/clock.ts'
import { hasCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import type { KnownStore } from '../format/known-store.ts'
import type { Ulid } from '../model/ulid.ts'
import { TimelineLog } from '../timeline/log.ts'
import { knownStoreAt, notThere, openKnown, rememberStore } from './known-store.ts'
import { type OpenStore, openForCapture, openForReading, type StorePlace } from './opening.ts'
import { openRecordKeys } from './record-keys.ts'
import { readStoreFile } from './store-file.ts'
import { type Ack, endOf } from './streams.ts'

/** A start does not wait longer for the first answer of a store that it knows, milliseconds; nor then for the rest of opening it. */
const ANSWER_MS = 2_000
const OPEN_MS = 10_000

const AWAY =
  'The store cannot be reached: capture begins in the journal, and comes into the store by itself when that answers.'
/** The application goes on: that its backup is damaged is no reason to stop it, and every write is one more to keep. */
const DAMAGED =
  'The catalogue of the store is damaged: capture begins in the journal, and comes into the store by itself once `tidemark repair` has mended that. Until then nothing can be restored.'

const STAYED =
  'Old files of the catalogue could not be let go: they stay and do no harm. `tidemark upkeep` does it, with rights to delete.'

/** What a capture is started with. */
export interface Starting {
  readonly place: StorePlace
  readonly database: string
  readonly ack: Ack
  /** Of the journals of every store. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
}

/** A store that a capture can begin with. */
export interface Started {
  readonly opened: OpenStore
  readonly timeline: TimelineLog
  readonly recordKeys: RecordKeys | null
  /** The timeline cannot be read now: its last stamp, as far as this machine knows. Absent: the timeline was read. */
  readonly away?: Ulid
  /** Notes what the next start needs where it cannot reach the store; absent where no start could do without. */
  readonly remember?: () => Promise<void>
}

/**
 * Opens a store for capturing; makes it where the place is empty and none is known there. `begin` enters the stream of
 * this process in it. Where the store cannot be reached or its catalogue is damaged, and journals of this directory were
 * brought into it before, `begin` is given what is known of it. Errors: those of `openForCapture` and `openRecordKeys`; `STORE_UNAVAILABLE` where the store is not known.
 */
export async function startCapture<T>(starting: Starting, begin: (started: Started) => Promise<T>): Promise<T> {
  const { ack, directory, place, log, database } = starting
  const known = ack === 'journal' ? await knownStoreAt(directory, place.name) : null
  if (known === null) {
    try {
      return await beginNoted(await reach(starting), begin)
    } catch (error) {
      throw isAway(error) ? needed(starting, error) : error
    }
  }
  try {
    return await beginNoted(await reachSoon(starting, known), begin)
  } catch (error) {
    if (isAway(error)) log.warn({ store: place.name, error: error.message }, AWAY)
    else if (hasCode(error, 'TIMELINE_CORRUPT')) log.error({ store: place.name, error: error.message }, DAMAGED)
    else throw error
    const opened = await openKnown(place, known, database)
    const timeline = TimelineLog.unread(opened.store)
    timeline.forgetting((error) => log.warn({ error: messageOf(error) }, STAYED))
    const recordKeys = await openRecordKeys({ place, file: opened.file, timeline, ack, capturing: 'unread' })
    return begin({ ...rememberedBy(starting, opened, timeline), opened, timeline, recordKeys, away: known.through })
  }
}

async function beginNoted<T>(started: Started, begin: (started: Started) => Promise<T>): Promise<T> {
  const begun = await begin(started)
  await started.remember?.()
  return begun
}

/**
 * Opens a store for reading. Its timeline is read by the first who asks something of it, since what was read before that may be
 * out of date by then. Errors: those of `openForReading` and `openRecordKeys`.
 */
export async function openToRead(place: StorePlace): Promise<Started> {
  const opened = await openForReading(place)
  const timeline = TimelineLog.unread(opened.store)
  // Which record keys are in force, the timeline says.
  if (opened.file.recordKeys && place.keyring !== null) await timeline.refresh()
  const recordKeys = await openRecordKeys({ place, file: opened.file, timeline, ack: 'journal', capturing: null })
  return { opened, timeline, recordKeys }
}

async function reach(starting: Starting): Promise<Started> {
  const { place, database, clock, ack, log } = starting
  const opened = await openForCapture(place, database, clock)
  const timeline = await TimelineLog.open(opened.store)
  timeline.forgetting((error) => log.warn({ error: messageOf(error) }, STAYED))
  const recordKeys = await openRecordKeys({ place, file: opened.file, timeline, ack, capturing: 'read' })
  return { ...rememberedBy(starting, opened, timeline), opened, timeline, recordKeys }
}

/** The store that is known, or another that was put in its place; never a new one. Errors: `STORE_UNAVAILABLE` where it takes long. */
async function reachSoon(starting: Starting, { file }: KnownStore): Promise<Started> {
  const { place, log } = starting
  const found = await soon(starting, ANSWER_MS, readStoreFile(place.stored))
  if (found === null) throw notThere(place.name, file.id)
  if (found.id !== file.id) {
    log.warn(
      { store: place.name, id: found.id, before: file.id },
      'Another store is where one was before. The journals of that one stay as they are.',
    )
  }
  return soon(starting, OPEN_MS, reach(starting))
}

/** What comes of `work`, unless it takes longer than `ms`: then it goes on, and nobody waits for it. */
async function soon<T>({ clock, place }: Starting, ms: number, work: Promise<T>): Promise<T> {
  const done = new AbortController()
  const ended = work.finally(() => done.abort())
  ended.catch(() => undefined) // who still waits has the error
  const late = clock.idle(ms, done.signal).then(() => (done.signal.aborted ? ended : Promise.reject(slow(place, ms))))
  return Promise.race([ended, late])
}

function isAway(error: unknown): error is TidemarkError {
  return error instanceof TidemarkError && error.retriable
}

/** The error of a start that cannot do without the store. */
function needed({ place: { name }, directory, ack }: Starting, cause: TidemarkError): TidemarkError {
  const why =
    ack === 'journal'
      ? `no process with the journal directory ${directory} has reached it before`
      : `with ack: '${ack}' there is no journal on a disk to begin in`
  const todo =
    ack === 'journal'
      ? 'Start it once while the store can be reached, or give the journal directory that earlier starts had.'
      : "Start it when the store can be reached; with ack: 'journal' it need not be from the second start on."
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `The store at ${name} cannot be reached, and ${why}. Nothing was captured. ${todo} (${cause.message})`,
    {
      hint: 'See whether it answers: tidemark status --store <it>.',
      details: { store: name },
      cause,
    },
  )
}

function slow({ name }: StorePlace, ms: number): TidemarkError {
  return new TidemarkError('STORE_UNAVAILABLE', `The store at ${name} has not answered within ${ms / 1000} s.`, {
    hint: 'It is tried again.',
  })
}

/** What is in the memory of a process is gone with it. */
function rememberedBy(
  { ack, directory, place, log }: Starting,
  { file, slots }: OpenStore,
  timeline: TimelineLog,
): Pick<Started, 'remember'> {
  const { name: location } = place
  if (ack !== 'journal' || location.startsWith('memory:')) return {}
  return {
    remember: async () => {
      if (timeline.head === null) return
      try {
        await rememberStore(directory, location, { file, slots, through: endOf(timeline.timeline) })
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'What a start without the store needs could not be noted.')
      }
    },
  }
}
