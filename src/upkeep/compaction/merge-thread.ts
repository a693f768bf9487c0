import { Worker } from 'node:worker_threads'
import { ownBuffer } from '../../base/bytes.ts'
import { isCollecting } from '../../base/collect-buffers.ts'
import { failureOf, type ThreadFailure, toldError } from '../../base/thread-failure.ts'
import type { ByteRange, ObjectStore } from '../../store/object-store.ts'
import type { RunRequest, WrittenRun } from './write-run.ts'

/** Room for young objects, MiB: of what a merge makes hardly any gets old, and what V8 would take is 32 and more. */
const YOUNG_MB = 8

/** How the thread works. */
export interface MergeSettings {
  /** As the process does whose own it is. */
  readonly collectsBuffers: boolean
}

/** What the thread asks of the store, or tells. Bytes are given away. */
export type FromMerge =
  | { readonly get: number; readonly key: string; readonly range: ByteRange | null }
  | { readonly put: number; readonly key: string; readonly bytes: Uint8Array }
  | { readonly file: number; readonly key: string }
  | { readonly written: WrittenRun }
  | { readonly failure: ThreadFailure }

/** What it is given: a request, then an answer for each number. Bytes are given away. */
export type ToMerge =
  | { readonly request: RunRequest }
  | { readonly answer: number; readonly bytes?: Uint8Array; readonly failure?: ThreadFailure }

/** A request under way. */
interface WritingRun extends PromiseWithResolvers<WrittenRun> {
  readonly worker: Worker
  readonly onFile: (key: string) => void
}

/**
 * `writeRun` in a thread of its own, so that the application is not held up: what is read and written goes through this one. The
 * thread starts with the first run, and serves one after the other until `end`: to start one costs more than a small merge.
 */
export class MergeThread {
  readonly #store: ObjectStore
  readonly #file: URL
  #worker: Worker | null = null
  #writing: WritingRun | null = null

  /** `file` is the worker's. */
  constructor(store: ObjectStore, file: URL = workerFile()) {
    this.#store = store
    this.#file = file
  }

  /** Not before the last one is written. Rejects also where the thread cannot be started, or ends before. */
  async write(request: RunRequest, onFile: (key: string) => void): Promise<WrittenRun> {
    this.#worker ??= this.#start()
    const writing = { ...Promise.withResolvers<WrittenRun>(), worker: this.#worker, onFile }
    this.#writing = writing
    this.#tell({ request })
    try {
      return await writing.promise
    } finally {
      this.#writing = null
    }
  }

  /** Ends the thread, in the middle of a run too. */
  async end(): Promise<void> {
    const worker = this.#worker
    this.#worker = null
    await worker?.terminate()
  }

  #start(): Worker {
    const workerData: MergeSettings = { collectsBuffers: isCollecting() }
    const worker = new Worker(this.#file, { workerData, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } })
    const lost = (error: Error): void => {
      if (this.#worker === worker) this.#worker = null
      // One that failed ends a moment later: the next run has another by then.
      if (this.#writing?.worker === worker) this.#writing.reject(error)
    }
    worker.on('message', (message: FromMerge) => this.#hear(message))
    worker.on('error', lost)
    worker.on('exit', () => lost(new Error('the merging thread ended')))
    return worker
  }

  #hear(message: FromMerge): void {
    if ('written' in message) this.#writing?.resolve(message.written)
    else if ('failure' in message) this.#writing?.reject(toldError(message.failure))
    else if ('get' in message) this.#answer(message.get, () => this.#store.get(message.key, message.range ?? undefined))
    else if ('put' in message)
      this.#answer(message.put, async () => {
        await this.#store.put(message.key, message.bytes, { ifAbsent: true })
        return undefined
      })
    else
      this.#answer(message.file, async () => {
        this.#writing?.onFile(message.key)
        return undefined
      })
  }

  #answer(number: number, act: () => Promise<Uint8Array | undefined>): void {
    act().then(
      (bytes) => this.#tell(bytes === undefined ? { answer: number } : { answer: number, bytes: ownBuffer(bytes) }),
      (error: unknown) => this.#tell({ answer: number, failure: failureOf(error) }),
    )
  }

  #tell(message: ToMerge): void {
    const bytes = 'bytes' in message ? message.bytes : undefined
    this.#worker?.postMessage(message, bytes?.buffer instanceof ArrayBuffer ? [bytes.buffer] : [])
  }
}

/** The file beside this one, with the same ending: source or compiled. */
function workerFile(): URL {
  const here: string = import.meta.url
  return new URL(`./merge-worker${here.endsWith('.ts') ? '.ts' : '.js'}`, here)
}
