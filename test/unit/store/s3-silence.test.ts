import { createServer, type ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { S3Store } from '../../../src/store/s3.ts'
import { fails, pattern } from '../../../src/testing/objects.ts'

/** A store on a server that takes every request and answers as `answer` says; nothing else ever comes. */
async function onServer(
  answer: (response: ServerResponse) => void,
  run: (store: S3Store) => Promise<void>,
): Promise<void> {
  const server = createServer((_, response) => answer(response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
  const endpoint = `http://127.0.0.1:${address.port}`
  await run(new S3Store({ bucket: 'bucket', endpoint, credentials, silenceMs: 300 }))
  server.close()
  server.closeAllConnections()
}

test('a server that takes requests and answers none is not waited for', async () => {
  const list = async (store: S3Store): Promise<void> => {
    for await (const { key } of store.list('')) throw new Error(`there is no ${key}`)
  }
  await onServer(
    () => {},
    async (store) => {
      const started = performance.now()
      const requests = [
        store.put('k', pattern(5_000_000)),
        store.put('k', pattern(10), { ifAbsent: true }),
        store.get('k'),
        store.head('k'),
        store.delete(['k']),
        list(store),
      ]
      expect(await Promise.all(requests.map((request) => fails(request)))).toEqual(
        requests.map(() => 'STORE_UNAVAILABLE'),
      )
      expect(performance.now() - started).toBeGreaterThan(290)
      expect(performance.now() - started).toBeLessThan(20_000)
    },
  )
})

test('a server that hangs in the midst of a body is not waited for, nor is the half taken for the whole', async () => {
  await onServer(
    (response) => {
      response.writeHead(200, { 'content-length': 1000 })
      response.write(pattern(500))
    },
    async (store) => expect(await fails(store.get('k'))).toBe('STORE_UNAVAILABLE'),
  )
})

test('a server that closes the connection in the midst of a body gives no half object', async () => {
  await onServer(
    (response) => {
      response.writeHead(200, { 'content-length': 1000 })
      response.write(pattern(500), () => response.destroy())
    },
    async (store) => expect(await fails(store.get('k'))).toBe('STORE_UNAVAILABLE'),
  )
})
