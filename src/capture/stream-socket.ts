import { type FileHandle, open, stat, statfs } from 'node:fs/promises'
import { createConnection, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/*
 * The door of a stream is a local socket, as a rule in the directory of the stream: whoever shares that directory, also from
 * another container of the machine, can knock, and the kernel answers whether anybody listens. The address of a local
 * socket may have about a hundred bytes only; a longer path is reached through the open directory in /proc.
 */
export interface DoorPlace {
  readonly directory: string
  readonly name: string
}

/** What a knock is answered with: `refused`, the socket is there and nobody listens; `denied`, not to this user. */
export type Knock = 'answers' | 'refused' | 'gone' | 'denied'

/** The shortest bound of a socket's address, that of macOS, less the zero at its end. */
const MOST_PATH_BYTES = 103

/** File systems that one kernel at a time can have mounted, by their numbers in Linux. */
const LOCAL_FILE_SYSTEMS = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x794c7630, // overlayfs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
  0xca451a4e, // bcachefs
  0x3153464a, // jfs
  0x52654973, // reiserfs
])

/**
 * Whether no other machine can have what is in `directory`: then a socket there at which nobody of this kernel listens has no
 * owner any more. What is not known not to be shared over a network counts as shared. Systems other than Linux do not
 * say; there the journal has to be on a local disk.
 */
export async function isLocal(directory: string): Promise<boolean> {
  if (process.platform !== 'linux') return true
  try {
    return LOCAL_FILE_SYSTEMS.has((await statfs(directory)).type)
  } catch {
    return false // what cannot be looked at may be anything
  }
}

/** Asks the kernel whether anybody listens. */
export async function knock(place: DoorPlace): Promise<Knock> {
  const { socket, done } = await connectTo(place)
  return new Promise((resolve) => {
    const answered = (answer: Knock): void => {
      socket.destroy()
      void done().then(() => resolve(answer))
    }
    socket.once('connect', () => answered('answers'))
    socket.once('error', (error: NodeJS.ErrnoException) => answered(answerOf(error)))
  })
}

function answerOf({ code }: NodeJS.ErrnoException): Knock {
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'gone'
  if (code === 'ECONNREFUSED' || code === 'ENOTSOCK') return 'refused'
  // EAGAIN: so many have knocked that nobody else may wait; somebody is there.
  return code === 'EACCES' || code === 'EPERM' ? 'denied' : 'answers'
}

/** Begins to connect to a door; `done` lets go of what that takes. */
export async function connectTo(place: DoorPlace): Promise<{ socket: Socket; done(): Promise<void> }> {
  try {
    const { path, done } = await addressOf(place)
    return { socket: createConnection(path), done }
  } catch (error) {
    const socket = new Socket()
    process.nextTick(() => socket.destroy(error instanceof Error ? error : new Error(String(error))))
    return { socket, done: async () => {} }
  }
}

/** Listens at a place where nothing is yet. The address is needed until the server is closed: then `done`. */
export async function listenAt(server: Server, place: DoorPlace): Promise<() => Promise<void>> {
  const { path, done } = await addressOf(place)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
    return done
  } catch (error) {
    await done()
    throw error
  }
}

async function addressOf({ directory, name }: DoorPlace): Promise<{ path: string; done(): Promise<void> }> {
  const path = join(directory, name)
  if (Buffer.byteLength(path) <= MOST_PATH_BYTES) return { path, done: async () => {} }
  const handle: FileHandle = await open(directory, 'r')
  return { path: `/proc/self/fd/${handle.fd}/${name}`, done: () => handle.close() }
}

/**
 * Whether what answers at a door there can be believed: nobody but its owner can put a socket into the directory, and that is
 * this user, or this user may do everything anyway.
 */
export async function isTrusted(directory: string): Promise<boolean> {
  try {
    const { uid, mode } = await stat(directory)
    const own = process.getuid?.() ?? uid
    return (mode & 0o022) === 0 && (own === uid || own === 0)
  } catch {
    return false // it is not here, or not for this user
  }
}

/** Where the door of a stream may be that has no directory: the first that can be used. `journals` is the last resort. */
export function doorDirectories(journals: string): readonly string[] {
  const runtime = process.env.XDG_RUNTIME_DIR
  const user = process.getuid?.() ?? 'user'
  const shared = join(tmpdir(), `tidemark-${user}`)
  return [
    ...(runtime === undefined || runtime === '' ? [] : [join(runtime, 'tidemark')]),
    shared,
    join(journals, 'doors'),
  ]
}
