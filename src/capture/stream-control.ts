import { chmod, rm } from 'node:fs/promises'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'
import type { Requests } from '../store/meter.ts'
import type { Backpressure } from './journal-bound.ts'
import { checkSocketDirectory, makeSocketDirectory, socketPath } from './stream-socket.ts'

/** A request to bring events into the store that takes longer than this is given up by the one who asked, milliseconds. */
const ANSWER_MS = 60_000
/** A process that is not frozen says how it is doing within this time, milliseconds. */
const REPORT_MS = 2_000
/** No question is longer, in characters. */
const LONGEST_QUESTION = 4096

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
}

/**
 * The door of a live stream for other processes of the same user on the same host: a local socket on which they ask it
 * to bring what it has journalled into the store, or how it is doing. One line of JSON each way; the socket never keeps a
 * process alive.
 */
export async function serveStream(stream: string, door: StreamDoor): Promise<() => Promise<void>> {
  const path = socketPath(stream)
  await makeSocketDirectory()
  await rm(path, { force: true })
  const idle = new Set<Socket>()
  const server = createServer((socket) => {
    socket.unref()
    socket.setEncoding('utf8')
    socket.on('error', () => socket.destroy())
    idle.add(socket)
    socket.on('close', () => idle.delete(socket))
    let line = ''
    const gather = (part: string): void => {
      line += part
      if (line.length > LONGEST_QUESTION) return void socket.destroy()
      if (!line.includes('\n')) return
      socket.off('data', gather)
      socket.resume() // what is behind the line is of no interest, and its end is
      idle.delete(socket)
      // Whoever asks has the answer when it is written: a slow reader holds nobody up.
      void answer(line.slice(0, line.indexOf('\n')), door).then((reply) =>
        socket.end(`${JSON.stringify(reply)}\n`, () => socket.destroy()),
      )
    }
    socket.on('data', gather)
  })
  await listen(server, path)
  server.unref()
  await chmod(path, 0o600)
  return () =>
    new Promise((resolve) => {
      // Nothing else may keep the process alive until those who were asked have answered.
      server.ref()
      server.close(() => resolve())
      for (const socket of idle) socket.destroy()
    })
}

/**
 * Asks the process that owns `stream` to bring its events into the store. False where no process
 * listens. Errors: what the other process answered.
 */
export async function askStream(stream: string, through: Ulid | null, wanted: Wanted): Promise<boolean> {
  const reply = await ask(stream, { through, wanted }, ANSWER_MS)
  if (reply === null) return false
  const failure = failureIn(reply)
  if (failure !== null) throw refused(stream, failure)
  return true
}

/**
 * Asks the process that owns `stream` how it is doing, which changes nothing and asks nothing of the store; null where
 * no process listens. Errors: `STORE_UNAVAILABLE` where one does and does not answer.
 */
export async function askReport(stream: string): Promise<StreamReport | null> {
  const reply = await ask(stream, { report: true }, REPORT_MS)
  if (reply === null) return null
  const failure = failureIn(reply)
  if (failure !== null) throw refused(stream, failure)
  return (JSON.parse(reply) as { report: StreamReport }).report
}

/**
 * One question, one answer, as a line; null where no process listens. An answer that is cut off is what a process that
 * dies gives: it is asked for once more, and then there is nobody, or who has come in its place.
 */
async function ask(stream: string, question: object, ms: number): Promise<string | null> {
  await checkSocketDirectory()
  const isWhole = (reply: string | null): boolean => reply?.endsWith('\n') !== false
  const reply = await askOnce(stream, question, ms)
  if (isWhole(reply)) return reply
  const again = await askOnce(stream, question, ms)
  if (isWhole(again)) return again
  throw refused(stream, 'its answer was cut off')
}

/** What was answered, without its line end where it was cut off. */
function askOnce(stream: string, question: object, ms: number): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath(stream))
    let reply = ''
    socket.setEncoding('utf8')
    socket.setTimeout(ms, () => socket.destroy(refused(stream, `it did not answer within ${ms / 1000} s`)))
    socket.on('connect', () => socket.write(`${JSON.stringify(question)}\n`))
    socket.on('data', (part: string) => {
      reply += part
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null)
      else if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve('')
      else reject(error instanceof TidemarkError ? error : refused(stream, error.message))
    })
    socket.on('end', () => resolve(reply))
  })
}

async function answer(line: string, door: StreamDoor): Promise<{ error: string | null; report?: StreamReport }> {
  try {
    const { through, wanted, report } = JSON.parse(line) as { through?: unknown; wanted?: unknown; report?: unknown }
    if (report === true) return { error: null, report: door.report() }
    const after = typeof through === 'string' && isUlid(through) ? through : null
    await door.complete(after, wanted === 'begun' ? 'begun' : 'acknowledged')
    return { error: null }
  } catch (error) {
    return { error: messageOf(error) }
  }
}

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

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}
