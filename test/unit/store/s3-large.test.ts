import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { S3Store } from '../../../src/store/s3.ts'

test('an object that is too large to be read as a whole is an error before it is read', async () => {
  let sent = 0
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-length': String(5 * 1024 ** 3) })
    const write = (): void => {
      if (response.destroyed) return
      sent += 1 << 20
      if (response.write(Buffer.alloc(1 << 20))) setImmediate(write)
    }
    response.on('drain', write)
    write()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const credentials = { accessKeyId: 'id', secretAccessKey: 'key' }
  const store = new S3Store({ bucket: 'bucket', endpoint: `http://127.0.0.1:${port}`, credentials })
  await expect(store.get('timeline/1.json')).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
  expect(sent).toBeLessThan(64 << 20)
  server.close()
})
