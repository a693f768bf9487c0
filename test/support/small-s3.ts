import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { StoreSpec } from '../../src/store/open.ts'

/** What servers that speak the protocol of S3 do otherwise than AWS. */
export interface SmallS3Manners {
  /** What becomes of `If-None-Match`: refused where the key is there, passed over, or answered with 501. */
  condition?: 'honoured' | 'ignored' | 'unknown'
  /** Whether keys in a listing are encoded, as was asked. */
  encodesKeys?: boolean
  /** Keys that no listing shows yet. */
  hidden?: (key: string) => boolean
}

/** A small server of that protocol, in memory. */
export interface SmallS3 {
  /** Of its bucket, with credentials. */
  readonly spec: StoreSpec & { readonly endpoint: string }
  readonly objects: Map<string, Buffer>
  /** As 'PUT prefix/key'. */
  readonly seen: string[]
  readonly manners: SmallS3Manners
  close(): void
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const encoded = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+')

/** Starts one; what its manners are can be changed while it runs. */
export async function smallS3(manners: SmallS3Manners = {}): Promise<SmallS3> {
  const objects = new Map<string, Buffer>()
  const seen: string[] = []
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://x')
    const key = decodeURIComponent(url.pathname).slice('/bucket/'.length)
    seen.push(`${request.method} ${key}`)
    if (request.method === 'PUT') await put(objects, key, request, response, manners)
    else if (key === '') list(objects, url, response, manners)
    else read(objects, key, request.method ?? '', response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const spec = { url: 's3://bucket/prefix', endpoint, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }
  const close = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return { spec, objects, seen, manners, close }
}

async function put(
  objects: Map<string, Buffer>,
  key: string,
  request: IncomingMessage,
  response: ServerResponse,
  { condition = 'honoured' }: SmallS3Manners,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const isConditional = request.headers['if-none-match'] !== undefined
  if (isConditional && condition === 'unknown') return refuse(response, 501, 'NotImplemented')
  if (isConditional && condition === 'honoured' && objects.has(key)) return refuse(response, 412, 'PreconditionFailed')
  objects.set(key, Buffer.concat(chunks))
  response.writeHead(200).end()
}

function list(objects: Map<string, Buffer>, url: URL, response: ServerResponse, manners: SmallS3Manners): void {
  const { encodesKeys = true, hidden = () => false } = manners
  const after = url.searchParams.get('start-after') ?? ''
  const found = [...objects.keys()].filter((key) => key.startsWith(url.searchParams.get('prefix') ?? ''))
  const shown = found.filter((key) => key > after && !hidden(key)).sort()
  const contents = shown.map((key) => {
    const size = objects.get(key)?.length
    return `<Contents><Key>${encodesKeys ? encoded(key) : escaped(key)}</Key><Size>${size}</Size></Contents>`
  })
  const type = encodesKeys ? '<EncodingType>url</EncodingType>' : ''
  response.writeHead(200, { 'content-type': 'application/xml' })
  response.end(`<?xml version="1.0"?><ListBucketResult>${type}${contents.join('')}</ListBucketResult>`)
}

function read(objects: Map<string, Buffer>, key: string, method: string, response: ServerResponse): void {
  const found = objects.get(key)
  if (found === undefined && method === 'HEAD') response.writeHead(404).end()
  else if (found === undefined) refuse(response, 404, 'NoSuchKey')
  else response.writeHead(200, { 'content-length': found.length }).end(method === 'HEAD' ? undefined : found)
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' })
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`)
}
