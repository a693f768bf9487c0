import { peekFiles } from '../capture/journal-peek.ts'
import { NOTHING_SEALED } from '../capture/journal-recovery.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import type { Recorder } from '../capture/recorder.ts'
import { listStreams, takeStreams } from '../capture/stream-dir.ts'
import { EMPTY_TIMELINE } from '../model/timeline.ts'
import { type OwnedStream, openDir, type StreamSeams } from './streams.ts'

/**
 * The journals of dead processes with writes of which nobody knows whether they happened, while the timeline cannot be read: they are
 * settled before anything else is written to their items, as at any start, and let go. Their events are left to who can read it.
 */
export class Unsettled {
  #streams: readonly OwnedStream[]

  private constructor(streams: readonly OwnedStream[]) {
    this.#streams = streams
  }

  /** Opens them; those that are damaged, or of which something is missing, are left as they are. */
  static async open(seams: Omit<StreamSeams, 'timeline'>): Promise<Unsettled> {
    const wanted = new Set<string>()
    for (const { stream, path, liveness } of await listStreams(seams.directory)) {
      if (liveness === 'dead' && (await hasOpenIntents(path, stream, seams))) wanted.add(stream)
    }
    const opened: OwnedStream[] = []
    const dirs = wanted.size === 0 ? [] : await takeStreams(seams.directory, (id) => wanted.has(id))
    for (const dir of dirs) opened.push(await openDir({ ...seams, timeline: EMPTY_TIMELINE }, dir))
    return new Unsettled(opened)
  }

  /** Gives what is open to who settles it. */
  adoptInto(recorder: Recorder): void {
    for (const { journal, recovered } of this.#streams) recorder.adopt(journal, recovered.openIntents)
  }

  /** Lets go of them, once everything is settled or the capture ends. True where there were any. */
  async release(): Promise<boolean> {
    const streams = this.#streams
    this.#streams = []
    for (const { release } of streams) await release()
    return streams.length > 0
  }
}

async function hasOpenIntents(path: string, stream: string, { store }: Pick<StreamSeams, 'store'>): Promise<boolean> {
  try {
    const { openIntents, isWhole } = await peekFiles(new NodeDisk(), path, stream, NOTHING_SEALED, store.secrets)
    return openIntents > 0 && isWhole
  } catch {
    return false // whoever takes it over with the timeline says what is wrong with it
  }
}
