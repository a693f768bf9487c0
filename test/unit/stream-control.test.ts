import { chmodSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { askReport, askStream, serveStream } from '../../src/capture/stream-control.ts'
import { makeSocketDirectory, socketPath } from '../../src/capture/stream-socket.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'

await makeSocketDirectory()
const stream = new UlidGenerator(() => Date.now()).next()

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
  const path = socketPath(stream)
  return new Promise((resolve) => server.listen(path, () => resolve(server)))
}

test.each(['', '{"error":nu', '{"error":null}'])('who dies while it answers %j is nobody', async (text) => {
  await listening(text, true)
  expect(await askStream(stream, null, 'acknowledged')).toBe(false)
  await listening(text, true)
  expect(await askReport(stream)).toBe(null)
})

test('who lives and cuts its answers off is told as such', async () => {
  const server = await listening('{"err', false)
  await expect(askStream(stream, null, 'acknowledged')).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('cut off'),
  })
  server.close()
})

test('what another process answers is passed on', async () => {
  const good = await listening('{"error":null}\n', true)
  expect(await askStream(stream, null, 'acknowledged')).toBe(true)
  good.close()
  const bad = await listening('{"error":"no space"}\n', true)
  await expect(askStream(stream, null, 'acknowledged')).rejects.toThrow('no space')
  bad.close()
})

test('nobody is asked where another user could answer', async () => {
  const directory = dirname(socketPath(stream))
  chmodSync(directory, 0o777)
  try {
    const denied = { code: 'JOURNAL_DENIED', message: expect.stringContaining(directory) }
    await expect(askReport(stream)).rejects.toMatchObject(denied)
    await expect(askStream(stream, null, 'acknowledged')).rejects.toMatchObject(denied)
    await expect(makeSocketDirectory()).rejects.toMatchObject(denied)
  } finally {
    chmodSync(directory, 0o700)
  }
})

/** What is answered to these parts, sent one after the other. */
function said(parts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath(stream))
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
  const stop = await serveStream(stream, {
    complete: async (...question) => void asked.push(question),
    report: () => {
      throw new Error('nobody asked for it')
    },
  })
  const through = new UlidGenerator(() => Date.now()).next()
  const question = JSON.stringify({ through, wanted: 'begun' })
  expect(await said([question.slice(0, 9), question.slice(9), '\n'])).toBe('{"error":null}\n')
  expect(asked).toEqual([[through, 'begun']])
  expect(await said(['x'.repeat(3000), 'x'.repeat(3000)])).toBe('')
  const waiting = said([question])
  await new Promise((done) => setTimeout(done, 60))
  await stop()
  expect(await waiting).toBe('')
  expect(asked).toHaveLength(1)
})
