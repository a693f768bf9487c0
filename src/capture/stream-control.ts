import { chmod, rm } from 'node:fs/promises'
import { createConnection, createServer, type Server } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'

/** A request that takes longer than this is given up by the one who asked, milliseconds. */
const ANSWER_MS = 60_000

/**
 * The door of a live stream for other processes of the same user on the same host: a local socket on which they ask it
 * to bring what it has journalled into the store. One line of JSON each way; the socket never keeps a process alive.
 */
export async function serveStream(
  stream: string,
  complete: (through: Ulid | null) => Promise<void>,
): Promise<() => Promise<void>> {
  const path = socketPath(stream)
  await rm(path, { force: true })
  const server = createServer((socket) => {
    socket.unref()
    socket.setEncoding('utf8')
    socket.on('error', () => socket.destroy())
    socket.once('data', (line: string) => {
      void answer(line, complete).then((reply) => socket.end(`${JSON.stringify(reply)}\n`))
    })
  })
  await listen(server, path)
  server.unref()
  await chmod(path, 0o600)
  return () => new Promise((resolve) => server.close(() => resolve()))
}

/**
 * Asks the process that owns `stream` to bring its events up to `through` into the store. False where no process
 * listens. Errors: what the other process answered.
 */
export function askStream(stream: string, through: Ulid | null): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath(stream))
    let reply = ''
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_MS, () =>
      socket.destroy(refused(stream, `it did not answer within ${ANSWER_MS / 1000} s`)),
    )
    socket.on('connect', () => socket.write(`${JSON.stringify({ through })}\n`))
    socket.on('data', (part: string) => {
      reply += part
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false)
      else reject(error instanceof TidemarkError ? error : refused(stream, error.message))
    })
    socket.on('end', () => {
      const failure = failureIn(reply)
      if (failure === null) resolve(true)
      else reject(refused(stream, failure))
    })
  })
}

async function answer(
  line: string,
  complete: (through: Ulid | null) => Promise<void>,
): Promise<{ error: string | null }> {
  try {
    const { through } = JSON.parse(line) as { through?: unknown }
    await complete(typeof through === 'string' && isUlid(through) ? through : null)
    return { error: null }
  } catch (error) {
    return { error: messageOf(error) }
  }
}

function failureIn(reply: string): string | null {
  try {
    const { error } = JSON.parse(reply) as { error?: unknown }
    return typeof error === 'string' ? error : null
  } catch (error) {
    return `its answer was cut off (${messageOf(error)})`
  }
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

/** Short, since the path of a local socket may have about a hundred bytes only. */
function socketPath(stream: string): string {
  return join(tmpdir(), `tidemark-${userInfo().uid}-${stream}.sock`)
}
