import { frameNumber } from '../format/journal-frame.ts'
import type { FrameLog } from './frame-log.ts'

/**
 * Frames in memory: for `ack: 'memory'`. A crash loses every event that is not in the store yet, and which ones
 * cannot be told afterwards.
 */
export class MemoryLog implements FrameLog {
  readonly missing = null
  readonly room = null
  #frames: Uint8Array[] = []
  #first = 1

  get range(): { first: number; last: number } | null {
    return this.#frames.length === 0 ? null : { first: this.#first, last: this.#first + this.#frames.length - 1 }
  }

  async append(frame: Uint8Array): Promise<void> {
    if (this.#frames.length === 0) this.#first = frameNumber(frame)
    this.#frames.push(new Uint8Array(frame))
  }

  async *read(from: number): AsyncIterable<Uint8Array> {
    yield* this.#frames.slice(Math.max(0, from - this.#first))
  }

  async trim(before: number): Promise<number> {
    const dropped = Math.max(0, Math.min(before - this.#first, this.#frames.length - 1))
    this.#frames = this.#frames.slice(dropped)
    this.#first += dropped
    return this.#first
  }

  apart(): void {
    // Each frame stands for itself.
  }

  async close(): Promise<void> {
    this.#frames = []
  }
}
