import { describe, expect, test } from 'vitest'
import { sha256, utf8 } from '../../src/base/bytes.ts'
import { openStore } from '../../src/store/open.ts'
import { retrying, withRetry } from '../../src/store/retry.ts'
import { S3Store } from '../../src/store/s3.ts'
import { s3Error } from '../../src/store/s3-errors.ts'
import { fails, hashOf, keysOf, pattern, streamOf } from '../../src/testing/objects.ts'
import { type FlakyProxy, flakyProxy, type Mishap } from '../support/flaky-proxy.ts'
import { type FreshS3, s3ForTests } from '../support/s3.ts'

const server = s3ForTests()
const MIB = 1_048_576
const QUICK = { attempts: 4, baseMs: 1 }
const chunks = Array.from({ length: 20 }, (_, i) => pattern(MIB + i, i))

async function behind(
  script: (request: string, before: number) => Mishap,
  run: (proxy: FlakyProxy, fresh: FreshS3) => Promise<void>,
): Promise<void> {
  if (server === null) throw new Error('no S3 server')
  const fresh = await server.fresh()
  const proxy = await flakyProxy(server.endpoint, script)
  await run(proxy, fresh)
  proxy.close()
  await fresh.dispose()
}

const storeAt = (proxy: FlakyProxy, { options }: FreshS3): ReturnType<typeof withRetry> =>
  withRetry(new S3Store({ ...options, endpoint: proxy.endpoint }, retrying(QUICK)), QUICK)

describe.skipIf(server === null)('S3 where requests go wrong', () => {
  test('a request is sent once by the store itself', async () => {
    await behind(
      () => 503,
      async (proxy, { options }) => {
        const store = new S3Store({ ...options, endpoint: proxy.endpoint })
        expect(await fails(store.get('k'))).toBe('STORE_UNAVAILABLE')
        expect(await fails(store.put('k', utf8('x')))).toBe('STORE_UNAVAILABLE')
        expect(await fails(store.head('k'))).toBe('STORE_UNAVAILABLE')
        expect(await fails(store.delete(['k']))).toBe('STORE_UNAVAILABLE')
        expect(await fails(keysOf(store.list('')))).toBe('STORE_UNAVAILABLE')
        expect(proxy.seen.length).toBe(5)
      },
    )
  })

  test('a conditional put whose answer was lost has won', async () => {
    await behind(
      (line, before) => (line.startsWith('PUT') && before === 0 ? 'after' : null),
      async (proxy, fresh) => {
        const store = storeAt(proxy, fresh)
        await store.put('k', utf8('mine'), { ifAbsent: true })
        expect(await fails(store.put('k', utf8('again'), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
        expect(Buffer.from(await store.get('k')).toString()).toBe('mine')
        expect(proxy.seen.filter((line) => line.startsWith('PUT')).length).toBe(3)
      },
    )
  })

  test('a streamed upload survives the loss of any one of its requests and answers', async () => {
    for (const mishap of ['before', 'after', 503] as const) {
      await behind(
        (_, before) => (before === 0 ? mishap : null),
        async (proxy, fresh) => {
          const store = storeAt(proxy, fresh)
          await store.put('k', streamOf(chunks))
          expect(sha256(await store.get('k')), mishap.toString()).toBe(hashOf(chunks))
        },
      )
    }
  })

  test('an upload that fails for good leaves no parts behind', async () => {
    const isPart = (line: string): boolean => line.includes('partNumber=2')
    await behind(
      (line) => (isPart(line) ? 503 : null),
      async (proxy, fresh) => {
        const store = storeAt(proxy, fresh)
        expect(await fails(store.put('k', streamOf(chunks)))).toBe('STORE_UNAVAILABLE')
        expect(await fails(store.put('k', Buffer.concat(chunks)))).toBe('STORE_UNAVAILABLE')
        expect(await store.head('k')).toBeNull()
        expect(proxy.seen.filter((line) => line.startsWith('DELETE')).length).toBeGreaterThanOrEqual(2)
      },
    )
  })

  test('parts that could not be removed are named', async () => {
    const script = (line: string): Mishap => (line.includes('partNumber=2') || line.startsWith('DELETE') ? 503 : null)
    if (server === null) throw new Error('no S3 server')
    const fresh = await server.fresh()
    const proxy = await flakyProxy(server.endpoint, script)
    const error = await storeAt(proxy, fresh)
      .put('k', streamOf(chunks))
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('could not be removed') })
    proxy.close()
    await expect(fresh.dispose()).rejects.toThrow("/k' were left behind")
  })

  test('a bad secret, a missing bucket and a dead server are told apart', async () => {
    if (server === null) throw new Error('no S3 server')
    const { options, dispose } = await server.fresh()
    const wrong = { ...server.credentials, secretAccessKey: 'wrong' }
    const cases = [
      [{ ...options, credentials: wrong }, 'STORE_DENIED'],
      [{ ...options, bucket: 'tidemark-no-such-bucket' }, 'STORE_NOT_FOUND'],
      [{ ...options, endpoint: 'http://127.0.0.1:1' }, 'STORE_UNAVAILABLE'],
    ] as const
    for (const [given, code] of cases) {
      const store = new S3Store(given)
      expect(await fails(store.put('k', utf8('x')))).toBe(code)
      expect(await fails(store.put('k', utf8('x'), { ifAbsent: true }))).toBe(code)
      expect(await fails(store.put('k', streamOf(chunks)))).toBe(code)
      expect(await fails(store.get('k'))).toBe(code)
      expect(await fails(store.head('k'))).toBe(code)
      expect(await fails(keysOf(store.list('')))).toBe(code)
      expect(await fails(store.delete(['k']))).toBe(code)
    }
    await dispose()
  })

  test('a store is opened by its URL, with endpoint, prefix and credentials', async () => {
    if (server === null) throw new Error('no S3 server')
    const { options, dispose } = await server.fresh()
    const { credentials, endpoint } = server
    const url = `s3://${options.bucket}/${options.prefix}`
    await (await openStore({ url: `${url}?endpoint=${endpoint}&region=us-east-1&path-style=true`, credentials })).put(
      'a',
      utf8('x'),
    )
    const member = await openStore({ url: `${url}/`, endpoint, region: 'us-east-1', pathStyle: true, credentials })
    expect(await keysOf(member.list(''))).toEqual(['a'])
    const other = await openStore({ url: `${url}x`, endpoint, credentials })
    expect(await keysOf(other.list(''))).toEqual([])
    const long = await openStore({ url: `s3://${options.bucket}/${'p'.repeat(900)}`, endpoint, credentials })
    expect(await fails(long.put('k'.repeat(200), utf8('x')))).toBe('KEY_INVALID')
    await dispose()
  })
})

test('says what an answer of S3 means', () => {
  const answer = (name: string, httpStatusCode?: number): Error =>
    Object.assign(new Error(name), { name }, httpStatusCode === undefined ? {} : { $metadata: { httpStatusCode } })
  const expected: [Error, string][] = [
    [answer('NoSuchBucket', 404), 'STORE_NOT_FOUND'],
    [answer('NoSuchKey', 404), 'OBJECT_NOT_FOUND'],
    [answer('AccessDenied', 403), 'STORE_DENIED'],
    [answer('CredentialsProviderError'), 'STORE_DENIED'],
    [answer('QuotaExceeded', 403), 'STORE_FULL'],
    [answer('SlowDown', 503), 'STORE_UNAVAILABLE'],
    [answer('RequestTimeout', 400), 'STORE_UNAVAILABLE'],
    [answer('TooManyRequests', 429), 'STORE_UNAVAILABLE'],
    [answer('TimeoutError'), 'STORE_UNAVAILABLE'],
    [Object.assign(new Error('reset'), { code: 'ECONNRESET' }), 'STORE_UNAVAILABLE'],
    [answer('PermanentRedirect', 301), 'OPTION_INVALID'],
    [new Error('Region is missing'), 'OPTION_INVALID'],
    [answer('KeyTooLongError', 400), 'KEY_INVALID'],
    [answer('MalformedXML', 400), 'STORE_DENIED'],
  ]
  for (const [error, code] of expected) expect(s3Error(error, 'bucket', 'k').code, error.name).toBe(code)
})
