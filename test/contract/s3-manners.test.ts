import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { openForCapture, openForReading, placeOf } from '../../src/engine/opening.ts'
import { openStore } from '../../src/store/open.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { type SmallS3, type SmallS3Manners, smallS3 } from '../support/small-s3.ts'

const servers: SmallS3[] = []
afterEach(() => {
  vi.unstubAllEnvs()
  for (const server of servers.splice(0)) server.close()
})

async function started(manners: SmallS3Manners = {}): Promise<SmallS3> {
  const server = await smallS3(manners)
  servers.push(server)
  return server
}

const capture = async ({ spec }: SmallS3): Promise<unknown> =>
  openForCapture(await placeOf(spec, {}), 'db', systemClock)

test('a store that replaces what a conditional put should leave is not captured into, new or not', async () => {
  const server = await started({ condition: 'ignored' })
  const refused = { code: 'STORE_UNSUPPORTED', message: expect.stringContaining('If-None-Match') }
  await expect(capture(server)).rejects.toMatchObject(refused)
  const [kept] = server.objects.values()
  await expect(capture(server)).rejects.toMatchObject(refused)
  expect([...server.objects.values()]).toEqual([kept])
  await expect(openForReading(await placeOf(server.spec, {}))).resolves.toMatchObject({ file: { database: 'db' } })
})

test('a store that knows no conditional puts is refused at once, not tried again', async () => {
  const server = await started({ condition: 'unknown' })
  await expect(capture(server)).rejects.toMatchObject({
    code: 'STORE_UNSUPPORTED',
    message: expect.stringContaining('If-None-Match'),
  })
  expect(server.seen.filter((line) => line.startsWith('PUT'))).toHaveLength(1)
})

test('conditional puts are proven by one request at each opening, which leaves nothing behind', async () => {
  const server = await started()
  await capture(server)
  server.seen.length = 0
  await capture(server)
  expect(server.seen.filter((line) => line.startsWith('PUT'))).toEqual(['PUT prefix/tidemark.json'])
  expect([...server.objects.keys()]).toEqual(['prefix/tidemark.json'])
})

test('generations that no listing shows yet are found by their keys, in few requests', async () => {
  const server = await started()
  const log = await TimelineLog.open(await openStore(server.spec))
  for (let i = 0; i < 40; i++) await log.commit(() => ({}))
  for (const lost of [1, 2, 3, 39]) {
    server.manners.hidden = (key) => Number(/(\d+)\.json$/.exec(key)?.[1]) > 40 - lost
    server.seen.length = 0
    expect((await TimelineLog.open(await openStore(server.spec))).timeline.generation, `${lost}`).toBe(40)
    expect(server.seen.filter((line) => line.startsWith('HEAD')).length).toBeLessThan(14)
  }
  server.manners.hidden = () => true
  await log.commit(() => ({}))
  expect((await TimelineLog.open(await openStore(server.spec))).timeline.generation).toBe(41)
})

test('a hole in the numbers of generations does not hide what is listed behind it', async () => {
  const server = await started()
  const log = await TimelineLog.open(await openStore(server.spec))
  for (let i = 0; i < 9; i++) await log.commit(() => ({}))
  server.objects.delete('prefix/timeline/000000000006.json')
  expect((await TimelineLog.open(await openStore(server.spec))).timeline.generation).toBe(9)
})

test('keys are decoded only where the server says that it has encoded them', async () => {
  const keys = ['a%2Fb', 'a+b c', 'plain']
  for (const encodesKeys of [true, false]) {
    const store = await openStore((await started({ encodesKeys })).spec)
    for (const key of keys) await store.put(key, utf8('x'))
    expect(await keysOf(store.list('')), `encoded: ${encodesKeys}`).toEqual(keys)
  }
})

test('missing credentials are named at once, with what to set', async () => {
  vi.stubEnv('HOME', '/nonexistent')
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) vi.stubEnv(name, undefined)
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
  const server = await started()
  const { url, endpoint } = server.spec
  await expect((await openStore({ url, endpoint })).get('k')).rejects.toMatchObject({
    code: 'STORE_DENIED',
    message: expect.stringContaining('No credentials were found'),
    hint: expect.stringContaining('AWS_ACCESS_KEY_ID'),
  })
  expect(server.seen).toEqual([])
})

test('a proxy that the environment names is used, but not for the hosts of NO_PROXY', async () => {
  const server = await started()
  let through = 0
  const proxy = createServer((request, response) => {
    through++
    const { method, headers } = request
    const target = new URL(request.url ?? '')
    const socket = connect(Number(target.port), target.hostname)
    const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}`)
    socket.write(`${method} ${target.pathname}${target.search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    request.pipe(socket)
    if (response.socket !== null) socket.pipe(response.socket)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
  vi.stubEnv('NO_PROXY', '')
  await (await openStore(server.spec)).put('k', utf8('x'))
  expect(through).toBe(1)
  vi.stubEnv('NO_PROXY', '127.0.0.1')
  await (await openStore(server.spec)).put('other', utf8('x'))
  expect(through).toBe(1)
  expect([...server.objects.keys()]).toEqual(['prefix/k', 'prefix/other'])
  proxy.closeAllConnections()
  proxy.close()
})
