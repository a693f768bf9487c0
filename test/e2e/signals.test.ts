import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type StoreSpec, Tidemark } from '../../src/index.ts'
import { s3ForTests } from '../support/s3.ts'
import type { ApplicationSpec } from '../support/signal-application.ts'

const server = s3ForTests()
const directory = mkdtempSync(join(tmpdir(), 'signals-'))
const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

interface Run {
  readonly code: number | null
  readonly signal: string | null
  readonly errors: string
  /** Ids of the records whose writes were acknowledged. */
  readonly acknowledged: readonly string[]
}

/** Runs an application; sends `signal` once it has written something, and `meanwhile` has been done. */
function run(
  spec: ApplicationSpec,
  signal: NodeJS.Signals | null,
  meanwhile = async (): Promise<void> => {},
): Promise<Run> {
  const script = join(import.meta.dirname, '../support/signal-application.ts')
  const child = spawn(process.execPath, [script, JSON.stringify(spec)], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  let output = ''
  let errors = ''
  let isSent = false
  child.stdout.on('data', (part) => {
    output += part
    if (isSent || signal === null || output.split('\n').length < 12) return
    isSent = true
    void meanwhile().then(() => child.kill(signal))
  })
  child.stderr.on('data', (part) => {
    errors += part
  })
  return new Promise((resolve) => {
    child.on('close', (code, killedBy) => {
      children.delete(child)
      const acknowledged = output
        .split('\n')
        .slice(0, -1)
        .filter((line) => /^[WD] /.test(line))
        .map((line) => line.slice(2))
      resolve({ code, signal: killedBy, errors, acknowledged })
    })
  })
}

function specOf(
  changes: Partial<ApplicationSpec>,
): ApplicationSpec & { readonly home: string; readonly store: string } {
  const home = mkdtempSync(join(directory, 'app-'))
  const store = `file:${home}/store`
  const tidemark = { store, journal: `${home}/journal`, seal: { ageMs: 3_600_000 } }
  const spec = { database: `file://${home}/db`, tidemark, wiring: 'usePlugin', handler: 'none', end: 'signal' } as const
  return { ...spec, ...changes, home, store }
}

/** What the store alone says. */
async function inStore(store: string | StoreSpec): Promise<{ ids: string[]; states: string[] }> {
  const reader = await Tidemark.open({ store })
  try {
    const ids: string[] = []
    for await (const { id } of reader.at('latest').list('notes')) ids.push(String(id))
    return { ids, states: (await reader.status()).streams.map(({ state }) => state) }
  } finally {
    await reader.close()
  }
}

type Ended = Pick<Run, 'code' | 'signal'>
const ends = new Map<string, Promise<Ended>>()

/** How the same application ends without a backup, which it is not given in any way. */
function bare({ database, handler, end }: ApplicationSpec, signal: NodeJS.Signals | null): Promise<Ended> {
  const isFile = database.startsWith('file:')
  const kind = JSON.stringify([isFile, handler, end, signal])
  const found = ends.get(kind) ?? runBare(isFile, { handler, end }, signal)
  ends.set(kind, found)
  return found
}

async function runBare(
  isFile: boolean,
  parts: Pick<ApplicationSpec, 'handler' | 'end'>,
  signal: NodeJS.Signals | null,
): Promise<Ended> {
  const database = isFile ? `file://${mkdtempSync(join(directory, 'bare-'))}/db` : 'memory://app'
  const { code, signal: killedBy } = await run({ ...parts, database, tidemark: null, wiring: 'usePlugin' }, signal)
  return { code, signal: killedBy }
}

describe('an application that is stopped has closed its stream, with everything in the store', () => {
  it.each([
    ['SIGTERM', 'constructor', 'none', 'file'],
    ['SIGTERM', 'usePlugin', 'none', 'file'],
    ['SIGINT', 'constructor', 'none', 'file'],
    ['SIGINT', 'usePlugin', 'none', 'memory'],
    ['SIGTERM', 'constructor', 'drain', 'memory'],
    ['SIGINT', 'usePlugin', 'drain', 'memory'],
    ['SIGTERM', 'usePlugin', 'reconnected', 'file'],
    ['SIGINT', 'constructor', 'reconnected', 'file'],
  ] as const)('%s, given to %s, handler: %s, %s://; it ends as without us', async (signal, wiring, handler, kind) => {
    const spec = specOf({ wiring, handler, ...(kind === 'memory' ? { database: 'memory://app' } : {}) })
    const { acknowledged, errors, ...ended } = await run(spec, signal)
    expect(acknowledged.length, errors).toBeGreaterThan(8)
    renameSync(`${spec.home}/journal`, `${spec.home}/gone-with-the-container`)
    const { ids, states } = await inStore(spec.store)
    expect(ids).toEqual(expect.arrayContaining([...acknowledged]))
    expect(new Set(states)).toEqual(new Set(['closed']))
    expect(ended).toEqual(await bare(spec, signal))
  })

  it.each([
    ['disconnects', 'constructor'],
    ['disconnects', 'usePlugin'],
    ['drains', 'constructor'],
    ['drains', 'usePlugin'],
  ] as const)('by a handler that %s, given to %s, on file://', async (does, wiring) => {
    const spec = specOf({ wiring, handler: does === 'drains' ? 'drain' : 'disconnect' })
    const { acknowledged, code, errors } = await run(spec, 'SIGTERM')
    expect([0, 3], errors).toContain(code) // s3db.js and the application both end it
    expect(await inStore(spec.store)).toEqual({ ids: expect.arrayContaining([...acknowledged]), states: ['closed'] })
  })

  it('with a journal in memory', async () => {
    const spec = specOf({ wiring: 'constructor' })
    const tidemark = { store: spec.store, ack: 'memory', seal: { ageMs: 3_600_000 } } as const
    const { acknowledged, code } = await run({ ...spec, tidemark }, 'SIGTERM')
    expect(code).toBe(0)
    expect(await inStore(spec.store)).toEqual({ ids: expect.arrayContaining([...acknowledged]), states: ['closed'] })
  })

  it.each(['idle', 'throw'] as const)('although no signal came (%s)', async (end) => {
    const spec = specOf({ end })
    const { acknowledged, errors, ...ended } = await run(spec, null)
    expect(acknowledged.length, errors).toBe(20)
    expect(await inStore(spec.store)).toEqual({ ids: expect.arrayContaining([...acknowledged]), states: ['closed'] })
    expect(ended).toEqual(await bare(spec, null))
  })
})

it('an application that exits at once has everything in its journal', async () => {
  const spec = specOf({})
  const first = await run(spec, 'SIGTERM')
  const second = await run({ ...spec, handler: 'exit' }, 'SIGTERM')
  expect(second.code).toBe(3)
  const { ids } = await inStore(spec.store)
  expect(ids).toEqual(expect.arrayContaining([...first.acknowledged, ...second.acknowledged]))
})

describe.skipIf(server === null)('a store that does not answer', () => {
  it('holds a process back for seal.closeMs and no longer; what is not in the store is told', async () => {
    if (server === null) throw new Error('no S3 server')
    const { options } = await server.fresh()
    const proxy = await mutableProxy(server.endpoint)
    const store = {
      url: `s3://${options.bucket}/${options.prefix}`,
      endpoint: proxy.endpoint,
      region: 'us-east-1',
      credentials: server.credentials,
    }
    const spec = specOf({ wiring: 'constructor' })
    const tidemark = { store, journal: `${spec.home}/journal`, seal: { ageMs: 3_600_000, closeMs: 500 } }
    const { acknowledged, code, errors } = await run({ ...spec, tidemark }, 'SIGTERM', async () => proxy.mute())
    proxy.close()
    expect(code).toBe(0)
    expect(errors).toContain('safe in the journal')
    expect(errors).toContain('"closeMs":')
    const again = { ...tidemark, store: { ...store, endpoint: server.endpoint }, seal: {} }
    const next = await run({ ...spec, tidemark: again }, 'SIGTERM')
    const { ids, states } = await inStore(again.store)
    expect(ids).toEqual(expect.arrayContaining([...acknowledged, ...next.acknowledged]))
    expect(new Set(states)).toEqual(new Set(['closed']))
  })
})

/** A way to a server on which nothing is heard any more once it is muted. */
async function mutableProxy(endpoint: string): Promise<{ endpoint: string; mute: () => void; close: () => void }> {
  const { hostname, port } = new URL(endpoint)
  const sockets = new Set<Socket>()
  let isMute = false
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    if (isMute) return
    const upstream = connect(Number(port), hostname)
    upstream.on('error', () => socket.destroy())
    socket.on('data', (bytes) => isMute || upstream.write(bytes))
    upstream.on('data', (bytes) => isMute || socket.write(bytes))
    socket.on('close', () => upstream.destroy())
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const close = (): void => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  }
  const mute = (): void => {
    isMute = true
  }
  return { endpoint: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`, mute, close }
}
