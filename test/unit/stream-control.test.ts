import { createServer, type Server } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { askReport, askStream } from '../../src/capture/stream-control.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'

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
  const path = join(tmpdir(), `tidemark-${userInfo().uid}-${stream}.sock`)
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
