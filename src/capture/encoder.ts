import { Worker } from 'node:worker_threads'
import { type ErrorCode, TidemarkError } from '../base/errors.ts'
import type { EncodedSegment } from '../format/segment/encode.ts'
import type { RecordKeys } from './record-keys.ts'

/** What the worker is asked: events as `encodeEvent` wrote them. The buffers are given away. */
export interface EncodeRequest {
  readonly id: number
  readonly stream: string
  /** The link of the stream before these events. */
  readonly previous: string
  readonly regions: readonly Uint8Array[]
  /** The keyring that the images of records are sealed with; null where they are stored as they are. */
  readonly keyring: { readonly generation: number; readonly bytes: Uint8Array } | null
}

/** A segment, and the generation of the keyring that its images are sealed with: 0 where they are not. */
export interface SealedSegment extends EncodedSegment {
  readonly keyring: number
}

/** What it answers. */
export type EncodeReply =
  | { readonly id: number; readonly segment: SealedSegment }
  | {
      readonly id: number
      readonly failure: { readonly code: ErrorCode | null; readonly message: string; readonly hint: string }
    }

interface Waiting {
  resolve(segment: SealedSegment): void
  reject(error: unknown): void
}

/** WebAssembly memory never shrinks: after this many bytes of events a new worker takes over. */
const RECYCLE_BYTES = 512 * 1024 * 1024

/**
 * Encodes segments in a worker thread, so that writers are not held up. The worker is started by the first segment and
 * keeps the process alive only while it works.
 */
export class SegmentEncoder {
  #worker: Worker | null = null
  #encoded = 0
  #lastId = 0
  readonly #waiting = new Map<number, Waiting>()
  readonly #recordKeys: RecordKeys | null

  /** With record keys, the images of records are sealed with the keyring in force. */
  constructor(recordKeys: RecordKeys | null) {
    this.#recordKeys = recordKeys
  }

  /** The segment of these events of one stream, of which `previous` is the link before them. The buffers are transferred: they are empty afterwards. */
  async encode(stream: string, previous: string, regions: readonly Uint8Array[]): Promise<SealedSegment> {
    const current = (await this.#recordKeys?.current()) ?? null
    const keyring = current === null ? null : { generation: current.generation, bytes: current.encode() }
    const worker = this.#start()
    const owned = regions.map(ownBuffer)
    this.#encoded += owned.reduce((sum, region) => sum + region.length, 0)
    const id = ++this.#lastId
    return new Promise<SealedSegment>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      worker.ref()
      const request: EncodeRequest = { id, stream, previous, regions: owned, keyring }
      worker.postMessage(
        request,
        owned.map(({ buffer }) => buffer),
      )
    })
  }

  async close(): Promise<void> {
    const worker = this.#worker
    this.#worker = null
    await worker?.terminate()
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker
    // The file beside this one, with the same ending: source or compiled.
    const ending = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const worker = new Worker(new URL(`./encode-worker${ending}`, import.meta.url))
    worker.on('message', (reply: EncodeReply) => this.#answered(worker, reply))
    worker.on('error', (error) => this.#failed(worker, error))
    worker.on('exit', () => this.#failed(worker, new Error('the encoding thread ended')))
    worker.unref()
    this.#worker = worker
    this.#encoded = 0
    return worker
  }

  #answered(worker: Worker, reply: EncodeReply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('segment' in reply) waiting?.resolve(reply.segment)
    else waiting?.reject(errorOf(reply.failure))
    if (this.#waiting.size > 0) return
    worker.unref()
    if (this.#encoded > RECYCLE_BYTES) void this.close()
  }

  #failed(worker: Worker, error: unknown): void {
    if (this.#worker === worker) this.#worker = null
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}

function ownBuffer(region: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = region
  const whole = buffer instanceof ArrayBuffer && region.byteLength === buffer.byteLength
  return whole ? new Uint8Array(buffer) : Uint8Array.from(region)
}

function errorOf(failure: { code: ErrorCode | null; message: string; hint: string }): Error {
  return failure.code === null
    ? new Error(failure.message)
    : new TidemarkError(failure.code, failure.message, { hint: failure.hint })
}
