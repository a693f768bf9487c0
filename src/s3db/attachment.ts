import type { S3db } from 's3db.js/lite'
import { systemClock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { createLogger, type Logger } from '../base/log.ts'
import { closeLimitMs } from '../engine/closing.ts'
import { Tidemark } from '../engine/tidemark.ts'
import type { TidemarkOptions } from '../engine/tidemark-options.ts'
import { isLookedAt, MissedWrites } from './missed-writes.ts'
import { override } from './override.ts'
import { holdExit, isEndedByS3db } from './shutdown.ts'
import { captureClosed, type HeldSource, holdWrites, type SourceOptions } from './source.ts'

/** What an attachment needs of its plugin. */
export interface AttachmentSeams {
  readonly plugin: Parameters<S3db['usePlugin']>[0] & {
    readonly instanceName: string
    removeAllListeners(): unknown
  }
  readonly options: Omit<TidemarkOptions, 'source'> & SourceOptions
  /** Called each time a capture was opened, before its first event. */
  readonly opened: (tidemark: Tidemark) => Promise<void>
}

/** `opening` and `open` capture, or hold; `failed` and `closed` refuse, until `begin`. */
type Phase = 'opening' | 'open' | 'failed' | 'closed'

/**
 * The capture of one database by one plugin, from when it is attached to the storage client until it is released. No
 * write of that client passes by meanwhile: before the journal is open it waits, after the capture has ended it is
 * refused. It lives through `disconnect()` and captures again with the next `connect()`.
 */
export class Attachment {
  readonly #db: S3db
  readonly #seams: AttachmentSeams
  readonly #source: HeldSource
  readonly #missed: MissedWrites
  readonly #log: Logger
  readonly #undo: (() => void)[]
  #phase: Phase = 'closed'
  #opening: Promise<Tidemark>
  #closing: Promise<void> = Promise.resolve()
  /** While the database disconnects. */
  #disconnecting: Promise<void> | null = null
  /** Resolves when the capture has ended. */
  #ended: Promise<void> = Promise.resolve()
  #tellEnded = (): void => {}
  /** Resolves when every other plugin that is being stopped has stopped. */
  #othersStopped: Promise<unknown> = Promise.resolve()
  #wasOpen = false

  /** Holds the writes of `db`, whose client exists, and opens the capture. Errors: `SOURCE_ATTACHED`, `SOURCE_UNSUPPORTED`. */
  constructor(db: S3db, seams: AttachmentSeams) {
    this.#db = db
    this.#seams = seams
    const { pluginStorage = false, logger } = seams.options
    this.#log = logger ?? createLogger()
    this.#source = holdWrites(db, { pluginStorage }, (item) => this.#missed.note(item))
    this.#missed = new MissedWrites(this.#source, this.#log)
    this.#opening = this.#begin()
    this.#undo = [
      override(db, 'connect', db.connect, (original) => () => this.#connect(original)),
      override(db, 'disconnect', db.disconnect, (original) => () => this.#disconnect(original)),
      holdExit({ end: () => this.#endAtExit(), limitMs: this.#limitMs, log: this.#log }),
    ]
  }

  /** Whether this is about the client that the database has now. */
  isOf(db: S3db): boolean {
    return db === this.#db && db.client === this.#source.client
  }

  get isClosed(): boolean {
    return this.#phase === 'closed'
  }

  /** Whether it has ever captured. */
  get wasOpen(): boolean {
    return this.#wasOpen
  }

  /** Begins again to capture, where that has ended or failed. Writes are held from now on. */
  begin(): void {
    if (this.#phase === 'failed' || this.#phase === 'closed') this.#opening = this.#begin()
  }

  /** Resolves when writes are captured. Errors: those of `Tidemark.open`; after them writes are refused. */
  opened(): Promise<Tidemark> {
    return this.#opening
  }

  /**
   * Ends the capture with everything in the store, and refuses writes from then on. While the database disconnects it
   * is the last: what the other plugins write as they stop is captured.
   */
  close(): Promise<void> {
    if (this.#phase === 'open' || this.#phase === 'opening') {
      this.#phase = 'closed'
      this.#closing = this.#close()
    }
    return this.#closing
  }

  /** Gives the database back as it was; its writes pass, uncaptured. After `close`. */
  release(): void {
    for (const undo of this.#undo.toReversed()) undo()
    this.#source.release()
  }

  get #limitMs(): number {
    return closeLimitMs(this.#seams.options.seal)
  }

  #begin(): Promise<Tidemark> {
    this.#phase = 'opening'
    this.#ended = new Promise((resolve) => {
      this.#tellEnded = resolve
    })
    this.#source.hold()
    const opening = this.#closing.catch(ignore).then(() => this.#open())
    opening.catch((error: unknown) => {
      this.#phase = 'failed'
      this.#source.refuse(error instanceof TidemarkError ? error : notOpened(error))
    })
    return opening
  }

  async #open(): Promise<Tidemark> {
    const { pluginStorage: _, ...options } = this.#seams.options
    await this.#source.prepare()
    const tidemark = await Tidemark.open({ ...options, logger: this.#log, source: this.#source })
    const hadBegun = tidemark.hasBegun
    await this.#seams.opened(tidemark)
    const started = tidemark.start() // writes pass from here on
    if (this.#phase === 'opening') this.#phase = 'open'
    this.#wasOpen = true
    await started
    if (isLookedAt(this.#db)) void this.#lookAtMissed(tidemark, hadBegun)
    return tidemark
  }

  /** The history has to be there to be compared with. */
  async #lookAtMissed(tidemark: Tidemark, hadBegun: boolean): Promise<void> {
    await tidemark.entered
    if (this.#phase === 'open') this.#missed.begin(tidemark, hadBegun)
  }

  async #close(): Promise<void> {
    this.#missed.end()
    const deadline = systemClock.now() + this.#limitMs
    const othersLimitMs = this.#limitMs / 2
    if (!(await within(this.#othersStopped, othersLimitMs))) {
      this.#log.warn({ othersLimitMs }, 'Other plugins have not stopped in time: what they still write is refused.')
    }
    try {
      const tidemark = await this.#opening.catch(() => null) // who asked for it has the error
      await tidemark?.close({ withinMs: Math.max(0, deadline - systemClock.now()) })
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'The capture could not be closed.')
      throw error
    } finally {
      this.#source.refuse(captureClosed())
      this.#tellEnded()
    }
  }

  /** s3db.js writes and starts plugins inside `connect`: the capture has to be there before. */
  async #connect(original: () => Promise<void>): Promise<void> {
    this.begin()
    await original()
    const { plugin } = this.#seams
    // disconnect() makes s3db.js forget its plugins.
    if (this.#db.plugins[plugin.instanceName] !== plugin) await this.#db.usePlugin(plugin, plugin.instanceName)
  }

  #disconnect(original: () => Promise<void>): Promise<void> {
    this.#disconnecting ??= this.#disconnectOnce(original).finally(() => {
      this.#disconnecting = null
    })
    return this.#disconnecting
  }

  async #disconnectOnce(original: () => Promise<void>): Promise<void> {
    const plugins: unknown[] = this.#db.pluginList
    const { plugin } = this.#seams
    const others = plugins.filter((other) => other !== plugin)
    // s3db.js stops a few at a time, in this order: the last must not wait for one that is behind it.
    plugins.splice(0, plugins.length, ...others, plugin)
    const watched = others.filter(isStoppable).map(watchStop)
    this.#othersStopped = Promise.all(watched.map(({ stopped }) => stopped))
    // s3db.js takes away the listeners of what it stops; this capture goes on with the next connect().
    const keepListeners = override(plugin, 'removeAllListeners', plugin.removeAllListeners, () => () => plugin)
    try {
      await original()
      await this.close() // s3db.js leaves out the plugins where something before them failed
    } finally {
      keepListeners()
      for (const { undo } of watched) undo()
      this.#othersStopped = Promise.resolve()
    }
  }

  /** What a signal, or the natural end of the program, makes of a database that is connected. */
  async #endAtExit(): Promise<void> {
    // Something else ends the process, but the application has said that it disconnects by itself: it may.
    if (!isEndedByS3db(this.#db)) await within(this.#ended, this.#limitMs / 2)
    if (this.#db.isConnected()) await this.#db.disconnect()
    else await this.close()
  }
}

interface Stoppable {
  stop(): Promise<void>
}

function isStoppable(plugin: unknown): plugin is Stoppable {
  return typeof plugin === 'object' && plugin !== null && 'stop' in plugin && typeof plugin.stop === 'function'
}

/** `stopped` resolves when `plugin` has been stopped, whatever came of it. */
function watchStop(plugin: Stoppable): { readonly stopped: Promise<void>; readonly undo: () => void } {
  let resolve = (): void => {}
  const stopped = new Promise<void>((done) => {
    resolve = done
  })
  const undo = override(plugin, 'stop', plugin.stop, (original) => async () => {
    try {
      await original()
    } finally {
      resolve()
    }
  })
  return { stopped, undo }
}

/** Whether `work` was done within `ms`. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const done = new AbortController()
  try {
    return await Promise.race([work.then(() => true), systemClock.idle(ms, done.signal).then(() => false)])
  } finally {
    done.abort()
  }
}

function notOpened(error: unknown): TidemarkError {
  return new TidemarkError(
    'CAPTURE_CLOSED',
    `The capture could not be started; the write was refused and nothing was changed: ${messageOf(error)}`,
    { hint: 'Mend what kept it from starting and connect again; or write without a backup after db.uninstallPlugin.' },
  )
}

/** Who asked for it has the error. */
function ignore(): void {}
