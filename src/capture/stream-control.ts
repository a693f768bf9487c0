import { TidemarkError } from '../base/errors.ts'
import type { Ulid } from '../model/ulid.ts'
import type { Requests } from '../store/meter.ts'
import type { Backpressure } from './journal-bound.ts'
import { connectTo, type DoorPlace, isTrusted } from './stream-socket.ts'

/** A request to bring events into the store that takes longer than this is given up by the one who asked, milliseconds. */
const ANSWER_MS = 60_000
/** A process that is not frozen says how it is doing within this time, milliseconds. */
const REPORT_MS = 2_000

/**
 * What is to be brought into the store: the events of writes that were acknowledged before, or also those of every
 * write that was begun before.
 */
export type Wanted = 'acknowledged' | 'begun'

/** How a live stream is doing. */
export interface StreamReport {
  /** Durable events that are not in the store, and what becomes of more of them. */
  readonly pending: Backpressure
  /** Attempts to bring them there that failed, in a row. */
  readonly failures: number
  /** How old it lets an event become before it brings it there, milliseconds. */
  readonly sealMs: number
  /** How far its stamps are ahead of its clock. */
  readonly clockAheadMs: number
  /** Of its process, in the last 24 hours. */
  readonly requests: Requests
}

/** What a live stream does for other processes. */
export interface StreamDoor {
  /** Brings what is journalled into the store; later events are stamped after `through`, where it is not null. */
  complete(through: Ulid | null, wanted: Wanted): Promise<void>
  report(): StreamReport
  /** Takes what is in the store out of its journals, since a record was erased. False where writes under way keep some of it. */
  forget(): Promise<boolean>
}

/** The door of a stream, to be knocked at. */
export interface StreamAddress {
  readonly stream: string
  readonly door: DoorPlace
}

/**
 * Asks the process that owns a stream to bring its events into the store. False where no process listens, or another
 * user could answer in its place. Errors: what the other process answered.
 */
export async function askStream(address: StreamAddress, through: Ulid | null, wanted: Wanted): Promise<boolean> {
  const reply = await ask(address, { through, wanted }, ANSWER_MS)
  if (reply === null) return false
  const failure = failureIn(reply)
  if (failure !== null) throw refused(address.stream, failure)
  return true
}

/** Asks the process that owns a stream to forget what is in the store; null where nobody listens. Errors: what it answered. */
export async function askForget(address: StreamAddress): Promise<boolean | null> {
  const reply = await ask(address, { forget: true }, ANSWER_MS)
  if (reply === null) return null
  const failure = failureIn(reply)
  if (failure !== null) throw refused(address.stream, failure)
  return (JSON.parse(reply) as { forgotten?: unknown }).forgotten === true
}

/**
 * Asks the process that owns a stream how it is doing, which changes nothing and asks nothing of the store; null where
 * no process listens, or another user could answer in its place. Errors: `STORE_UNAVAILABLE` where one does and does not
 * answer.
 */
export async function askReport(address: StreamAddress): Promise<StreamReport | null> {
  const reply = await ask(address, { report: true }, REPORT_MS)
  if (reply === null) return null
  const failure = failureIn(reply)
  if (failure !== null) throw refused(address.stream, failure)
  return (JSON.parse(reply) as { report: StreamReport }).report
}

/**
 * One question, one answer, as a line; null where no process listens. An answer that is cut off is what a process that
 * dies gives: it is asked for once more, and then there is nobody, or who has come in its place.
 */
async function ask({ stream, door }: StreamAddress, question: object, ms: number): Promise<string | null> {
  if (!(await isTrusted(door.directory))) return null
  const isWhole = (reply: string | null): boolean => reply?.endsWith('\n') !== false
  const reply = await askOnce(stream, door, question, ms)
  if (isWhole(reply)) return reply
  const again = await askOnce(stream, door, question, ms)
  if (isWhole(again)) return again
  throw refused(stream, 'its answer was cut off')
}

/** What was answered, without its line end where it was cut off. */
async function askOnce(stream: string, door: DoorPlace, question: object, ms: number): Promise<string | null> {
  const { socket, done } = await connectTo(door)
  try {
    return await new Promise((resolve, reject) => {
      let reply = ''
      socket.setEncoding('utf8')
      socket.setTimeout(ms, () => socket.destroy(refused(stream, `it did not answer within ${ms / 1000} s`)))
      socket.on('connect', () => socket.write(`${JSON.stringify(question)}\n`))
      socket.on('data', (part: string) => {
        reply += part
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (NOBODY.includes(error.code ?? '')) resolve(null)
        else if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve('')
        else reject(error instanceof TidemarkError ? error : refused(stream, error.message))
      })
      socket.on('end', () => resolve(reply))
    })
  } finally {
    await done()
  }
}

/** Nobody listens, or not to this user. */
const NOBODY = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'ENOTSOCK', 'EACCES', 'EPERM']

function failureIn(reply: string): string | null {
  const { error } = JSON.parse(reply) as { error?: unknown }
  return typeof error === 'string' ? error : null
}

function refused(stream: string, why: string): TidemarkError {
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `The process that writes stream ${stream} could not bring its last events into the store: ${why}.`,
    {
      hint: 'Its events are safe in its journal. Look at its log, then try again; an earlier moment is reachable now.',
      details: { stream },
    },
  )
}
