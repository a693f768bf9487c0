import { text } from '../base/bytes.ts'
import type { Logger } from '../base/log.ts'
import { readState } from '../capture/check.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import type { Recorder } from '../capture/recorder.ts'
import type { Source } from '../capture/source.ts'
import { snapshotPrefix } from '../format/keys.ts'
import type { Keyring } from '../format/record-keys/keyring.ts'
import { sealImage } from '../format/record-keys/sealed-image.ts'
import { type Image, type Item, isUnreadable } from '../model/event.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { SnapshotWriter, WrittenSnapshot } from '../restore/snapshot-writer.ts'
import type { ItemState } from '../restore/target.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { requireEmptied } from './emptied.ts'
import { liveStates } from './live.ts'
import { addUnerased, writeSnapshot } from './snapshot.ts'

/** What a baseline reads and where it goes. */
export interface BaselineSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly source: Source
  readonly recorder: Recorder
  /** A stamp after every event so far and before every later one. */
  readonly mark: () => Ulid
  /** What images of records are sealed with; null where they are stored as they are. */
  readonly recordKeys: RecordKeys | null
  readonly log: Logger
  /** Brings every event so far into the store, and makes moments up to `through` reachable. */
  readonly seal: (through: Ulid) => Promise<void>
  /** Breaks it off where it stands, with its reason; what it has put into the store is taken out again. */
  readonly signal: AbortSignal
}

/**
 * Reads the whole live database into a snapshot while writes go on. Each item is read between two captured writes, so
 * that what is read and the events since the beginning fit together; the snapshot is consistent from its end on. Errors:
 * also `SOURCE_NOT_CONNECTED` where nothing at all is found, see `requireEmptied`.
 */
export async function takeBaseline(seams: BaselineSeams): Promise<SnapshotEntry> {
  const { store, timeline, source, recorder, recordKeys, mark, log, seal, signal } = seams
  const ulid = mark()
  let consistentFrom = ulid
  const began = timeline.timeline.erasures.length
  const keyring = (await recordKeys?.current()) ?? null
  const prefix = snapshotPrefix(ulid)
  const read = (item: Item): Promise<Image | null> => recorder.betweenWrites(item, () => readState(source, item))
  const write = async (writer: SnapshotWriter): Promise<WrittenSnapshot> => {
    let isEmpty = true
    for await (const states of liveStates(source, read)) {
      signal.throwIfAborted()
      isEmpty = false
      for (const state of states) if (isUnreadable(state.image)) warnOf(log, state)
      await writer.add(sealedStates(keyring, states))
    }
    consistentFrom = mark()
    if (isEmpty) {
      await seal(consistentFrom)
      await requireEmptied(store, timeline.timeline, consistentFrom, source.identity)
    }
    return writer.finish(consistentFrom)
  }
  return writeSnapshot({ store, prefix, ulid, database: source.identity }, write, async (written) => {
    // The events between the two stamps must be in the store before the snapshot is.
    await seal(consistentFrom)
    const entry: SnapshotEntry = { ulid, consistentFrom, prefix, ...written }
    await timeline.commit((now) => addUnerased(store, now, began, entry))
    return entry
  })
}

function warnOf(log: Logger, { kind, resource, id, image }: ItemState): void {
  const facts = { kind, resource, id, image: text(image.json) }
  log.warn(
    facts,
    'This is damaged in the database itself: the baseline has it as unreadable, and no restore puts it back.',
  )
}

function sealedStates(keyring: Keyring | null, states: readonly ItemState[]): readonly ItemState[] {
  if (keyring === null) return states
  return states.map((state) =>
    state.kind === 'record' ? { ...state, image: sealImage(keyring, state, state.image) } : state,
  )
}
