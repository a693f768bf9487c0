import { Worker } from 'node:worker_threads'
import { ownBuffer } from '../base/bytes.ts'
import { type ThreadFailure, toldError } from '../base/thread-failure.ts'
import type { EncodeRequest, SealedSegment } from './encoding.ts'

/** What the worker is asked. The buffers of the regions are given away. */
export interface EncodeTask {
  readonly id: number
  readonly request: EncodeRequest
}

/** What it answers; with neither, that it is there. */
export interface EncodeReply {
  readonly id: number
  readonly segment?: SealedSegment
  readonly failure?: ThreadFailure
}

type Waiting = PromiseWithResolvers<SealedSegment>

/** One worker thread that encodes segments. It keeps the process alive only while it works. */
export class EncodeThread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  readonly #ready = Promise.withResolvers<void>()
  #wasEnded = false
  #lastId = 0

  /** Starts it; `ended` is called when it has ended of its own accord. */
  constructor(file: URL, ended: (error: Error) => void) {
    this.#ready.promise.catch(() => undefined) // told to whoever waits for it, and by `ended`
    this.#worker = new Worker(file)
    let cause = new Error('the encoding thread ended')
    this.#worker.on('message', (reply: EncodeReply) => this.#answered(reply))
    this.#worker.on('error', (error) => {
      cause = error instanceof Error ? error : cause
    })
    this.#worker.on('exit', () => {
      this.#ready.reject(cause)
      for (const { reject } of this.#waiting.values()) reject(cause)
      if (!this.#wasEnded) ended(cause)
    })
    this.#worker.unref()
  }

  /** Whether it has something to do. */
  get #isBusy(): boolean {
    return this.#waiting.size > 0
  }

  /** Resolves when it has answered for the first time; rejects where it ended before. */
  async ready(): Promise<void> {
    this.#worker.ref()
    await this.#ready.promise
    if (!this.#isBusy) this.#worker.unref()
  }

  /** The segment. The buffers are transferred: they are empty afterwards. Rejects where the thread ends before. */
  encode(request: EncodeRequest): Promise<SealedSegment> {
    const owned = request.regions.map(ownBuffer)
    const id = ++this.#lastId
    const waiting = Promise.withResolvers<SealedSegment>()
    this.#waiting.set(id, waiting)
    this.#worker.ref()
    const task: EncodeTask = { id, request: { ...request, regions: owned } }
    this.#worker.postMessage(
      task,
      owned.map(({ buffer }) => buffer),
    )
    return waiting.promise
  }

  /** Whether `end` was called. */
  get wasEnded(): boolean {
    return this.#wasEnded
  }

  async end(): Promise<void> {
    this.#wasEnded = true
    await this.#worker.terminate()
  }

  #answered({ id, segment, failure }: EncodeReply): void {
    this.#ready.resolve()
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (segment !== undefined) waiting?.resolve(segment)
    else if (failure !== undefined) waiting?.reject(toldError(failure))
    if (!this.#isBusy) this.#worker.unref()
  }
}
