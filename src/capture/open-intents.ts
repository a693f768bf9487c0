import { encodedIntentBytes, type Intent } from '../format/intent-codec.ts'
import { decodeFrame, frameNumber } from '../format/journal-frame.ts'
import type { FrameLog } from './frame-log.ts'

/** Where the frame of an intent begins: its number, and the bytes of the journal before it. */
export interface FramePlace {
  readonly frame: number
  readonly at: number
}

/** What intents may keep, beside what waits for the store, before they are written again. */
const CARRY_BYTES = 1024 * 1024
/** Nor are they before it is so many times what they were when they were written again last. */
const CARRY_RATIO = 8

/** The intents without a durable outcome, and the frame that holds each of them. */
export class OpenIntents {
  /** In the order of their frames. */
  readonly #places: Map<number, FramePlace>
  /** Those whose outcome is on its way to the disk. */
  readonly #ending = new Set<number>()

  readonly #least: number
  #most: number

  /** `recovered`: by intent id; `carryBytes`: what they may pin, default 1 MiB. */
  constructor(recovered: ReadonlyMap<number, FramePlace>, carryBytes: number = CARRY_BYTES) {
    this.#least = carryBytes
    this.#most = carryBytes
    this.#places = new Map([...recovered].sort(([, a], [, b]) => a.frame - b.frame))
  }

  get count(): number {
    return this.#places.size
  }

  /** The frame that cannot go because of them; null where there are none. */
  get oldest(): FramePlace | null {
    const [oldest] = this.#places.values()
    return oldest ?? null
  }

  /** Bytes of the frames that cannot go because of them, of `written` in all. */
  pinned(written: number): number {
    return this.oldest === null ? 0 : written - this.oldest.at
  }

  /** They are durable in this frame; one that was in an earlier frame is in this one from now on. */
  begun(intents: readonly number[], place: FramePlace): void {
    for (const intent of intents) {
      this.#places.delete(intent)
      this.#places.set(intent, place)
    }
  }

  /** Their outcome will be in a frame to come. */
  ending(intents: readonly number[]): void {
    for (const intent of intents) if (intent !== 0) this.#ending.add(intent)
  }

  /** Whether the outcome of some is on its way. */
  get isEnding(): boolean {
    return this.#ending.size > 0
  }

  /** Their outcome is durable. */
  ended(intents: readonly number[]): void {
    for (const intent of intents) {
      this.#places.delete(intent)
      this.#ending.delete(intent)
    }
  }

  /** Whether the intent hangs, as far as anybody knows: one that is ending and is begun again would be open for ever. */
  hangs(intent: number): boolean {
    return this.#places.has(intent) && !this.#ending.has(intent)
  }

  has(intent: number): boolean {
    return this.#places.has(intent)
  }

  /**
   * Gives those to be written again that are in frames below `needed`, where `pinned` bytes are kept by nothing else and
   * that is too much: a write that hangs must not pin the journal. False: there were none.
   */
  async carry(log: FrameLog, needed: number, pinned: number, again: (intent: Intent) => void): Promise<boolean> {
    const { oldest } = this
    if (oldest === null || oldest.frame >= needed || pinned < this.#most) return false
    const found = new Map<number, Intent>()
    for await (const bytes of log.read(oldest.frame)) {
      if (frameNumber(bytes) >= needed) break
      for (const intent of decodeFrame(bytes).intents()) if (this.hangs(intent.intent)) found.set(intent.intent, intent)
    }
    // Some may have ended while the others were read.
    const carried = [...found.values()].filter(({ intent }) => this.hangs(intent))
    for (const intent of carried) again({ ...intent, isCarried: true })
    const size = carried.reduce((sum, intent) => sum + encodedIntentBytes(intent), 0)
    this.#most = Math.max(this.#least, size * CARRY_RATIO)
    return carried.length > 0
  }
}
