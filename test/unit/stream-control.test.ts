import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { askReport, askStream, type StreamDoor, type Wanted } from '../../src/capture/stream-control.ts'
import { makeDoor, makePrivateDoor } from '../../src/capture/stream-door.ts'
import { isLocal, knock } from '../../src/capture/stream-socket.ts'
import { type Ulid, UlidGenerator } from '../../src/model/ulid.ts'

const directory = mkdtempSync(join(tmpdir(), 'doors-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const stream = new UlidGenerator(() => Date.now()).next()
const door = { directory, name: 'door' }
const address = { stream, door }
const path = join(directory, 'door')

const SILENT: StreamDoor = {
  complete: async () => {},
  forget: async () => true,
  report: () => {
    throw new Error('nobody asked for it')
  },
}

/** A process that answers with `text` and dies, or lives on and does so again. */
function listening(text: string, dies: boolean): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      if (dies) server.close()
      if (text === '') socket.destroy()
      else socket.end(text)
    })
  })
  return new Promise((resolve) => server.listen(path, () => resolve(server)))
}

test.each(['', '{"error":nu', '{"error":null}'])('who dies while it answers %j is nobody', async (text) => {
  await listening(text, true)
  expect(await askStream(address, null, 'acknowledged')).toBe(false)
  await listening(text, true)
  expect(await askReport(address)).toBe(null)
})

test('who lives and cuts its answers off is told as such', async () => {
  const server = await listening('{"err', false)
  await expect(askStream(address, null, 'acknowledged')).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('cut off'),
  })
  server.close()
})

test('what another process answers is passed on', async () => {
  const good = await listening('{"error":null}\n', true)
  expect(await askStream(address, null, 'acknowledged')).toBe(true)
  good.close()
  const bad = await listening('{"error":"no space"}\n', true)
  await expect(askStream(address, null, 'acknowledged')).rejects.toThrow('no space')
  bad.close()
})

test('nobody is asked where another user could answer', async () => {
  const server = await listening('{"error":null}\n', false)
  expect(await askStream(address, null, 'acknowledged')).toBe(true)
  chmodSync(directory, 0o777)
  try {
    expect(await askStream(address, null, 'acknowledged')).toBe(false)
    expect(await askReport(address)).toBe(null)
  } finally {
    chmodSync(directory, 0o700)
    await new Promise((resolve) => server.close(resolve))
  }
})

/** What is answered to these parts, sent one after the other. */
function said(parts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path)
    let reply = ''
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => {
      reply += part
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(reply))
    void (async () => {
      for (const part of parts) {
        await new Promise((done) => socket.write(part, done))
        await new Promise((done) => setTimeout(done, 30))
      }
    })()
  })
}

test('a question that comes in parts is answered when it is whole, and one without an end is not', async () => {
  const asked: unknown[] = []
  const made = await makeDoor(directory, 'door')
  const complete = async (...question: [Ulid | null, Wanted]): Promise<void> => void asked.push(question)
  made?.open({ ...SILENT, complete })
  const through = new UlidGenerator(() => Date.now()).next()
  const question = JSON.stringify({ through, wanted: 'begun' })
  expect(await said([question.slice(0, 9), question.slice(9), '\n'])).toBe('{"error":null}\n')
  expect(asked).toEqual([[through, 'begun']])
  expect(await said(['x'.repeat(3000), 'x'.repeat(3000)])).toBe('')
  const waiting = said([question])
  await new Promise((done) => setTimeout(done, 60))
  await made?.close()
  expect(await waiting).toBe('')
  expect(asked).toHaveLength(1)
})

test('a door is answered from when it is opened, and who asks before waits', async () => {
  const made = await makeDoor(directory, 'door')
  expect(await knock(door)).toBe('answers')
  const early = askStream(address, null, 'acknowledged')
  let done = 0
  made?.open({ ...SILENT, complete: async () => void done++ })
  expect([await early, done]).toEqual([true, 1])
  await made?.shut()
  // Who asks now learns that nobody is there when the door is gone.
  const late = askStream(address, null, 'acknowledged')
  await knock(door)
  await made?.close()
  expect([await late, done]).toEqual([false, 1])
  expect(await knock(door)).toBe('gone')
})

test('a door that a killed process left is there and refuses', async () => {
  writeFileSync(join(directory, 'left'), '')
  expect(await knock({ directory, name: 'left' })).toBe('refused')
})

test.runIf(process.platform === 'linux')(
  'the path of a directory may be longer than the address of a socket',
  async () => {
    const long = join(directory, 'x'.repeat(120), 'y'.repeat(120))
    mkdirSync(long, { recursive: true })
    const made = await makeDoor(long)
    const place = { directory: long, name: made?.name ?? '' }
    made?.open(SILENT)
    expect(await knock(place)).toBe('answers')
    expect(await askStream({ stream, door: place }, null, 'acknowledged')).toBe(true)
    await made?.close()
    expect(readdirSync(long)).toEqual([])
  },
)

test('a stream without a directory has its door where one can be made, and else goes on without', async () => {
  const { TMPDIR, XDG_RUNTIME_DIR } = process.env
  try {
    // A file, in which nobody can make anything, root neither.
    writeFileSync(join(directory, 'file'), '')
    process.env.TMPDIR = process.env.XDG_RUNTIME_DIR = join(directory, 'file')
    const made = await makePrivateDoor(stream, join(directory, 'journals'))
    expect(made?.path.startsWith(join(directory, 'journals', 'doors'))).toBe(true)
    await made?.door.close()
    expect(await makePrivateDoor(stream, join(directory, 'file', 'journals'))).toBe(null)
  } finally {
    restoreEnvironment({ TMPDIR, XDG_RUNTIME_DIR })
  }
})

function restoreEnvironment(before: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

test.runIf(process.platform === 'linux')('what is not known to be a local file system counts as shared', async () => {
  expect(await isLocal('/proc')).toBe(false)
  expect(await isLocal(join(directory, 'nowhere'))).toBe(false)
})
