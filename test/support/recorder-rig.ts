import { type Clock, systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Chain } from '../../src/capture/chain.ts'
import { Findings } from '../../src/capture/findings.ts'
import { Journal } from '../../src/capture/journal.ts'
import { JournalBound } from '../../src/capture/journal-bound.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { NO_PEERS, type Peers } from '../../src/capture/peers.ts'
import { Recorder } from '../../src/capture/recorder.ts'
import { EventCursor, FIELD } from '../../src/format/event-codec.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import type { Image, Item } from '../../src/model/event.ts'

/** A recorder over a journal in memory, and what stands in it. */
export interface RecorderRig {
  readonly recorder: Recorder
  readonly journal: Journal
  readonly log: MemoryLog
  /** Events as `<actor> <id> <after>`, in the order of the journal. */
  events(): Promise<string[]>
}

/** What a test sets. */
export interface RecorderRigOptions {
  readonly read: (item: Item) => Promise<Image | null>
  readonly volatile?: boolean
  readonly isUnsynced?: boolean
  readonly clock?: Clock
  readonly log?: MemoryLog
  readonly peers?: Peers
}

/** Opens a recorder, which adopts what the journal held open. */
export async function recorderRig(options: RecorderRigOptions): Promise<RecorderRig> {
  const {
    read,
    volatile = false,
    isUnsynced = false,
    clock = systemClock,
    log = new MemoryLog(),
    peers = NO_PEERS,
  } = options
  const { journal, recovered } = await Journal.open({ log, stream: '01KAAAAAAAAAAAAAAAAAAAAAAA', clock })
  const logger = createLogger('silent')
  const seams = { journal, clock, log: logger, limitBytes: 1e6, reached: () => {}, resumed: () => {} }
  const recorder = new Recorder({
    ...{ journal, clock, log: logger, peers, read, database: { volatile, isUnsynced } },
    bound: new JournalBound({ ...seams, whenFull: 'refuse' }),
    noticed: () => {},
    doubted: () => {},
    chain: new Chain({ isAloneSince: () => !peers.isShared(), mark: () => journal.mark() }),
    findings: new Findings({ clock, log: logger, aloneSince: async () => true }),
  })
  recorder.adopt(journal, recovered.openIntents)
  const events = async (): Promise<string[]> => {
    const told: string[] = []
    for await (const frame of log.read(1)) {
      const cursor = new EventCursor(decodeFrame(frame).events)
      while (cursor.next()) {
        const text = (field: number): string => Buffer.from(cursor.field(field) ?? Buffer.from('-')).toString()
        told.push([FIELD.actor, FIELD.id, FIELD.afterJson].map(text).join(' '))
      }
    }
    return told
  }
  return { recorder, journal, log, events }
}
