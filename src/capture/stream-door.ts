import { randomBytes } from 'node:crypto'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { messageOf } from '../base/errors.ts'
import { isUlid } from '../model/ulid.ts'
import type { StreamDoor, StreamReport } from './stream-control.ts'
import { doorDirectories, isTrusted, listenAt } from './stream-socket.ts'

/** No question is longer, in characters. */
const LONGEST_QUESTION = 4096

/** A door could not be made there: a path, a file system or a system call filter that allows no local sockets. */
const NO_DOOR = [
  'EACCES',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EINVAL',
  'ENAMETOOLONG',
  'ENOENT',
  'ENOSYS',
  'ENOTDIR',
  'ENOTSUP',
  'EOPNOTSUPP',
  'EPERM',
  'EROFS',
]

/**
 * The door of a stream for other processes of the same user: a local socket, on which they ask its owner to bring what it has
 * journalled into the store, or how it is doing, one line of JSON each way. That somebody listens at it is also the
 * proof that the owner is alive, so it is there before the lock that names it and goes after it. It never keeps a
 * process alive.
 */
export interface Door {
  /** Of its file. */
  readonly name: string
  /** Answers what is asked from now on, and what was asked meanwhile. */
  open(owner: StreamDoor): void
  /** Whether somebody was asked, and has not answered yet. */
  readonly isAnswering: boolean
  /** Answers no more. Resolves when those who were asked have answered; who asks now waits until the door is gone. */
  shut(): Promise<void>
  /** Takes the door away. `directory`: where it is now, if that was renamed. */
  close(directory?: string): Promise<void>
}

/** Makes a door in a directory; null where none can be made. The name is one that no door had before. */
export async function makeDoor(
  directory: string,
  name = `door.${randomBytes(6).toString('hex')}`,
): Promise<Door | null> {
  const desk = new Desk()
  const server = createServer((socket) => desk.receive(socket))
  try {
    const done = await listenAt(server, { directory, name })
    server.unref()
    await chmod(join(directory, name), 0o600)
    return {
      name,
      get isAnswering() {
        return desk.isAnswering
      },
      open: (owner) => desk.open(owner),
      shut: () => desk.shut(),
      close: async (now = directory) => {
        await closeServer(server, desk)
        await done()
        await rm(join(now, name), { force: true })
      },
    }
  } catch (error) {
    server.close()
    if (error instanceof Error && 'code' in error && NO_DOOR.includes(String(error.code))) return null
    throw error
  }
}

/** A door of a stream without a directory, where it is, as the timeline names it. */
export interface PrivateDoor {
  readonly path: string
  readonly door: Door
}

/** Makes the door of a stream that has no directory, in one that is this user's alone; null where none can be made. */
export async function makePrivateDoor(stream: string, journals: string): Promise<PrivateDoor | null> {
  for (const directory of doorDirectories(journals)) {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
    } catch {
      continue // read-only, or not for this user: the next one
    }
    const name = `${stream}.${randomBytes(6).toString('hex')}.door`
    const door = (await isTrusted(directory)) ? await makeDoor(directory, name) : null
    if (door !== null) return { path: join(directory, name), door }
  }
  return null
}

/** Takes the questions. */
class Desk {
  readonly idle = new Set<Socket>()
  readonly #answering = new Set<Promise<void>>()
  #waiting: (() => void)[] = []
  #owner: StreamDoor | null = null

  open(owner: StreamDoor): void {
    this.#owner = owner
    for (const ask of this.#waiting.splice(0)) ask()
  }

  get isAnswering(): boolean {
    return this.#answering.size > 0
  }

  async shut(): Promise<void> {
    this.#owner = null
    while (this.#answering.size > 0) await Promise.all(this.#answering)
  }

  receive(socket: Socket): void {
    socket.unref()
    socket.setEncoding('utf8')
    socket.on('error', () => socket.destroy())
    this.idle.add(socket)
    socket.on('close', () => this.idle.delete(socket))
    let line = ''
    const gather = (part: string): void => {
      line += part
      if (line.length > LONGEST_QUESTION) return void socket.destroy()
      if (!line.includes('\n')) return
      socket.off('data', gather)
      socket.resume() // what is behind the line is of no interest, and its end is
      this.#ask(socket, line.slice(0, line.indexOf('\n')))
    }
    socket.on('data', gather)
  }

  #ask(socket: Socket, question: string): void {
    if (this.#owner === null) return void this.#waiting.push(() => this.#ask(socket, question))
    this.idle.delete(socket)
    // Whoever asks has the answer when it is written: a slow reader holds nobody up.
    const answering = answer(question, this.#owner).then((reply) => {
      this.#answering.delete(answering)
      socket.end(`${JSON.stringify(reply)}\n`, () => socket.destroy())
    })
    this.#answering.add(answering)
  }
}

function closeServer(server: Server, desk: Desk): Promise<void> {
  return new Promise((resolve) => {
    // Nothing else may keep the process alive until those who were asked have answered.
    server.ref()
    server.close(() => resolve())
    for (const socket of desk.idle) socket.destroy()
  })
}

interface Answer {
  readonly error: string | null
  readonly report?: StreamReport
  readonly forgotten?: boolean
}

async function answer(line: string, owner: StreamDoor): Promise<Answer> {
  try {
    const asked: Readonly<Partial<Record<'through' | 'wanted' | 'report' | 'forget', unknown>>> = JSON.parse(line)
    const { through, wanted, report } = asked
    if (asked.forget === true) return { error: null, forgotten: await owner.forget() }
    if (report === true) return { error: null, report: owner.report() }
    const after = typeof through === 'string' && isUlid(through) ? through : null
    await owner.complete(after, wanted === 'begun' ? 'begun' : 'acknowledged')
    return { error: null }
  } catch (error) {
    return { error: messageOf(error) }
  }
}
