import { createServer, type IncomingMessage, request } from 'node:http'

/** What becomes of a request: lost before the server has it, answered by the server but the answer lost, or refused. */
export type Mishap = 'before' | 'after' | 503 | null

/** A server in front of another, on whose way requests go wrong. */
export interface FlakyProxy {
  readonly endpoint: string
  /** Every request so far, as 'PUT /bucket/key?uploads'. */
  readonly seen: string[]
  close(): void
}

/** Passes requests on to `endpoint`; `script` decides about each, by method and URL and how often it came before. */
export async function flakyProxy(
  endpoint: string,
  script: (request: string, before: number) => Mishap,
): Promise<FlakyProxy> {
  const seen: string[] = []
  const server = createServer((incoming, outgoing) => {
    const line = `${incoming.method} ${incoming.url}`
    const mishap = script(line, seen.filter((other) => other === line).length)
    seen.push(line)
    if (mishap === 'before') {
      incoming.socket.destroy()
      return
    }
    if (mishap === 503) {
      outgoing.writeHead(503).end()
      return
    }
    const { method, headers, url } = incoming
    const onward = request(new URL(url ?? '/', endpoint), { method, headers }, (answer: IncomingMessage) => {
      if (mishap === 'after') {
        answer.resume().on('end', () => incoming.socket.destroy())
        return
      }
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    onward.on('error', () => incoming.socket.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { endpoint: `http://127.0.0.1:${address.port}`, seen, close }
}
