import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { S3Client } from 's3db.js'
import type { StorageClient } from '../../src/s3db/client.ts'

/** A server that keeps objects as S3 does, with their metadata in headers, and s3db.js's own client of it. */
export interface HeaderStore {
  readonly client: StorageClient
  /** How often each method was asked for. */
  readonly requests: Readonly<Record<string, number>>
  close(): void
}

interface Kept {
  readonly body: Buffer
  readonly headers: IncomingHttpHeaders
}

const ERROR = '<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>not there</Message></Error>'

/** Starts one. Like some servers it takes the bytes of headers for UTF-8, where HTTP has them as Latin-1. */
export async function headerStore(): Promise<HeaderStore> {
  const objects = new Map<string, Kept>()
  const requests: Record<string, number> = {}
  const server = createServer(async (request, response) => {
    const { method = '', url = '' } = request
    requests[method] = (requests[method] ?? 0) + 1
    const key = decodeURIComponent(new URL(url, 'http://x').pathname)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const found = objects.get(key)
    if (method === 'PUT') {
      objects.set(key, { body: unframed(Buffer.concat(chunks), request.headers), headers: request.headers })
      response.writeHead(200).end()
    } else if (method === 'DELETE') {
      objects.delete(key)
      response.writeHead(204).end()
    } else if (found === undefined) {
      response.writeHead(404, { 'content-type': 'application/xml' }).end(method === 'HEAD' ? undefined : ERROR)
    } else {
      const kept = Object.entries(found.headers).filter(([name]) =>
        /^(x-amz-meta-|content-(type|encoding)$)/.test(name),
      )
      const heard = kept.map(([name, value]) => [name, Buffer.from(String(value), 'latin1').toString('utf8')])
      const said = Object.fromEntries(heard.filter(([, value]) => /^[\x20-\xff]*$/.test(String(value))))
      response.writeHead(200, { ...said, 'content-length': found.body.length }).end(found.body)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const connectionString = `http://key:secret@127.0.0.1:${port}/bucket?forcePathStyle=true`
  const options = { connectionString, httpClientOptions: { useReckerHandler: false } }
  return {
    client: Reflect.construct(S3Client, [options]),
    requests,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** The SDK sends bodies in chunks with their sizes in front where it adds a checksum behind them. */
function unframed(body: Buffer, headers: IncomingHttpHeaders): Buffer {
  if (headers['x-amz-decoded-content-length'] === undefined) return body
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, line), 16)
    if (!(size > 0)) return Buffer.concat(parts)
    parts.push(body.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
