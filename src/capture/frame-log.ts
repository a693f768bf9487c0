import { hasCode, type TidemarkError } from '../base/errors.ts'

/** What a log knows of the room on its disk. */
export interface Room {
  /** Bytes that its files take, the rest of the present one and what is made ahead left out. */
  readonly bytes: number
  /** Why the log may soon take no more; null: nothing is in its way. */
  readonly shortage: TidemarkError | null
  /** Tries again to make room where there is a shortage. Never rejects. */
  prepare(): Promise<void>
}

/**
 * Where the frames of one stream become durable. One process has it open for appending. Every implementation passes
 * `test/contract`.
 */
export interface FrameLog {
  /** Numbers of the oldest and the newest frame that it holds; null where it holds none. */
  readonly range: { readonly first: number; readonly last: number } | null
  /** For people, what of it was taken away from where it lies; null where nothing was. `read` passes over it. */
  readonly missing: string | null
  /** Null where room is not what it can run out of. */
  readonly room: Room | null
  /**
   * Appends a frame, whose number must follow the newest one. It is durable when the promise resolves; its bytes are
   * the caller's again then. `written` may be called before, once the frame outlives this process, though not the machine:
   * whoever opens the log after a kill finds it. One call at a time. After a rejection the frame may be there or not.
   * Where the disk did not take it (`isDiskRefusal`) a frame of the same number may be appended: where that resolves, it
   * alone counts. After any other error append no more, and let the next opening decide. Errors: `STREAM_FENCED` where
   * another process writes this stream, `JOURNAL_*`.
   */
  append(frame: Uint8Array, written?: () => void): Promise<void>
  /**
   * Every durable frame from this number on, verified, each an own piece of memory; frames that are appended
   * meanwhile are left out. Errors: `JOURNAL_CORRUPT` where a frame is damaged or missing.
   */
  read(from: number): AsyncIterable<Uint8Array>
  /**
   * Lets go of frames below `before`; some of them may stay for a while, the newest frame always does. Resolves with the
   * number of the oldest frame of which anything is left.
   */
  trim(before: number): Promise<number>
  /** What is appended next stands apart from what is there, so that a trim leaves nothing of that. */
  apart(): void
  close(): Promise<void>
}

/** Whether a disk did not take what was to be appended: it may take it later, when there is room, or elsewhere. */
export function isDiskRefusal(error: unknown): error is TidemarkError {
  return hasCode(error, 'JOURNAL_FULL', 'JOURNAL_DENIED', 'JOURNAL_FAILED')
}
