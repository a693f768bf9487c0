import type { Recorder } from '../capture/recorder.ts'
import type { Source } from '../capture/source.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import { snapshotPrefix } from '../format/keys.ts'
import type { Item } from '../model/event.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { SnapshotWriter } from '../restore/snapshot-writer.ts'
import type { ItemState } from '../restore/target.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** What a baseline reads and where it goes. */
export interface BaselineSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly source: Source
  readonly recorder: Recorder
  /** A stamp after every event so far and before every later one. */
  readonly mark: () => Ulid
  /** Brings every event so far into the store, and makes moments up to `through` reachable. */
  readonly seal: (through: Ulid) => Promise<void>
}

/** Items that are read at once. */
const PARALLEL = 16

/**
 * Reads the whole live database into a snapshot while writes go on. Each item is read between two captured writes, so
 * that what is read and the events since the beginning fit together; the snapshot is consistent from its end on.
 */
export async function takeBaseline(seams: BaselineSeams): Promise<SnapshotEntry> {
  const { store, timeline, source, mark, seal } = seams
  const ulid = mark()
  const prefix = snapshotPrefix(ulid)
  const writer = new SnapshotWriter({ store, prefix, ulid, database: source.identity })
  for await (const items of source.items()) {
    for (let i = 0; i < items.length; i += PARALLEL) {
      const states = await Promise.all(items.slice(i, i + PARALLEL).map((item) => readState(seams, item)))
      await writer.add(states.filter((state) => state !== null))
    }
  }
  const written = await writer.finish()
  const consistentFrom = mark()
  // The events between the two stamps must be in the store before the snapshot is.
  await seal(consistentFrom)
  const entry: SnapshotEntry = { ulid, consistentFrom, prefix, ...written }
  await timeline.commit(() => ({ addSnapshots: [entry] }))
  return entry
}

async function readState({ source, recorder }: BaselineSeams, item: Item): Promise<ItemState | null> {
  const image = await recorder.betweenWrites(item, () => source.read(item))
  return image === null ? null : { ...item, image }
}
