import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'

/**
 * A server in front of Ceph's gateway, which passes `If-None-Match` over in a bucket with versions: it refuses such a put where the
 * key is there, as AWS does, one put after the other. Everything else is passed on as it is.
 */
export async function conditionalFront(
  endpoint: string,
  client: S3Client,
): Promise<{ readonly endpoint: string; close(): void }> {
  let turn: Promise<void> = Promise.resolve()
  const server = createServer((incoming, outgoing) => {
    const onward = (): Promise<void> => pass(endpoint, incoming, outgoing)
    if (incoming.headers['if-none-match'] === undefined) return void onward()
    turn = turn.then(async () => {
      if (!(await isThere(client, incoming.url ?? ''))) return onward()
      incoming.resume()
      outgoing.writeHead(412, { 'content-type': 'application/xml' })
      outgoing.end('<?xml version="1.0"?><Error><Code>PreconditionFailed</Code><Message>It exists.</Message></Error>')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { endpoint: `http://127.0.0.1:${address.port}`, close }
}

async function isThere(client: S3Client, url: string): Promise<boolean> {
  const [, bucket = '', ...key] = decodeURIComponent(url.replace(/\?.*/s, '')).split('/')
  try {
    await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key.join('/') }))
    return true
  } catch (error) {
    if (error instanceof Error && error.name === 'NotFound') return false
    throw error
  }
}

function pass(endpoint: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { method, headers, url } = incoming
  return new Promise((resolve) => {
    outgoing.on('close', resolve)
    const onward = request(new URL(url ?? '/', endpoint), { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    onward.on('error', () => incoming.socket.destroy())
    incoming.pipe(onward)
  })
}
