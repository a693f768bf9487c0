import { setImmediate } from 'node:timers/promises'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { EncodeThread } from './encode-thread.ts'
import { type EncodeRequest, Encoding, type SealedSegment } from './encoding.ts'
import type { RecordKeys } from './record-keys.ts'

/** A thread that ends so often in a row without one segment will not do better. */
const MOST_DEATHS = 3
/** What is encoded at a time in the thread of the application: about so long its writes are held up. */
const HERE_BYTES = 1024 * 1024

/**
 * Encodes segments in a worker thread, so that writers are not held up; where that cannot be started (an application
 * that was bundled without its file) or ends again and again, in the thread of the application, with a warning.
 */
export class SegmentEncoder {
  readonly #recordKeys: RecordKeys | null
  readonly #log: Logger
  readonly #file: URL | null
  #thread: EncodeThread | null = null
  #here: Encoding | null = null
  #deaths = 0

  /** With record keys, the images of records are sealed with the keyring in force. `file` is the worker's. */
  constructor(recordKeys: RecordKeys | null, log: Logger, file: URL | null = workerFile()) {
    this.#recordKeys = recordKeys
    this.#log = log
    this.#file = file
  }

  /** Bytes of events that it should be given at a time, at most. */
  get mostBytes(): number {
    return this.#here === null ? Number.POSITIVE_INFINITY : HERE_BYTES
  }

  /** Starts the thread, and finds out whether it answers. */
  async prove(): Promise<void> {
    try {
      await this.#ready()
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'The capture was closed before the encoding thread had started.')
    }
  }

  /**
   * The segment of these events of one stream, of which `previous` is the link before them. The buffers are
   * transferred: they are empty afterwards. Rejects also where the thread ended: to be tried again.
   */
  async encode(stream: string, previous: string, regions: readonly Uint8Array[]): Promise<SealedSegment> {
    const current = (await this.#recordKeys?.current()) ?? null
    const keyring = current === null ? null : { generation: current.generation, bytes: current.encode() }
    const request: EncodeRequest = { stream, previous, regions, keyring }
    const thread = await this.#ready()
    if (thread === null) return this.#encodeHere(request)
    const segment = await thread.encode(request)
    this.#deaths = 0
    return segment
  }

  async close(): Promise<void> {
    const thread = this.#thread
    this.#thread = null
    await thread?.end()
  }

  async #encodeHere(request: EncodeRequest): Promise<SealedSegment> {
    this.#here ??= new Encoding()
    await setImmediate() // between two of them others have their turn
    return this.#here.encode(request)
  }

  /** The thread, once it has answered; null where there is none to be had. */
  async #ready(): Promise<EncodeThread | null> {
    if (this.#here !== null) return null
    const thread = this.#start()
    try {
      await thread?.ready()
      return thread
    } catch (error) {
      if (thread?.wasEnded === true) throw error
      this.#giveUp('could not be started', error)
      return null
    }
  }

  #start(): EncodeThread | null {
    if (this.#thread !== null) return this.#thread
    if (this.#file === null) {
      this.#giveUp('could not be started', 'its file is not known')
      return null
    }
    const thread = new EncodeThread(this.#file, (error) => this.#ended(thread, error))
    this.#thread = thread
    return thread
  }

  #ended(thread: EncodeThread, error: Error): void {
    if (this.#thread !== thread) return
    this.#thread = null
    if (++this.#deaths >= MOST_DEATHS) this.#giveUp('ended again and again', error)
  }

  #giveUp(what: string, error: unknown): void {
    if (this.#here !== null) return
    this.#here = new Encoding()
    this.#log.warn(
      { error: messageOf(error) },
      `The thread that encodes segments ${what}: they are encoded in the thread of the application, which holds up its ` +
        'writes. A bundler must leave tidemark out of the bundle (esbuild: --external:tidemark).',
    )
  }
}

/** The file beside this one, with the same ending: source or compiled. Null in a bundle that has no URL. */
function workerFile(): URL | null {
  const here: string | undefined = import.meta.url
  if (here === undefined) return null
  return new URL(`./encode-worker${here.endsWith('.ts') ? '.ts' : '.js'}`, here)
}
