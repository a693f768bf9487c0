import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { TidemarkError } from '../../../src/base/errors.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { ObjectStore } from '../../../src/store/object-store.ts'
import { describeStore, openStore, type StoreSpec, treeOf } from '../../../src/store/open.ts'

test('opens a directory, however its path is written', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark open-'))
  const relativePath = `./${relative(process.cwd(), directory)}`
  const specs = [directory, relativePath, `file:${directory}`, `file:${relativePath}`, pathToFileURL(directory).href]
  for (const [i, spec] of specs.entries()) {
    expect(describeStore(spec), spec).toBe(`file:${directory}`)
    await (await openStore({ url: spec })).put(`k${i}`, utf8(spec))
    expect(await readFile(join(directory, `k${i}`), 'utf8')).toBe(spec)
  }
  await rm(directory, { recursive: true })
})

test('has one memory store per name', async () => {
  await (await openStore('memory:open-test')).put('k', utf8('x'))
  expect(await (await openStore({ url: 'memory:open-test' })).head('k')).toEqual({ key: 'k', bytes: 1 })
  expect(await (await openStore('memory:other')).head('k')).toBeNull()
  expect(describeStore('memory:open-test')).toBe('memory:open-test')
})

test('describes a store in full, without credentials', () => {
  const credentials = { accessKeyId: 'AKIAHIDDEN', secretAccessKey: 'hidden', sessionToken: 'hidden too' }
  const url = 's3://bucket/some/pre%20fix/?region=eu-west-1'
  expect(describeStore({ url, endpoint: 'http://h:1', credentials })).toBe(
    's3://bucket/some/pre fix at http://h:1 in eu-west-1',
  )
  expect(describeStore('s3://my.bucket-1')).toBe('s3://my.bucket-1')
  expect(describeStore('plain/dir')).toBe(`file:${resolve('plain/dir')}`)
})

const REFUSED: readonly (readonly [string | StoreSpec, string])[] = [
  ['', 'file:./dir'],
  [{ url: '' }, 'file:./dir'],
  ['gs://bucket/x', 's3://bucket'],
  ['http://host/bucket', 's3://bucket'],
  ['file:', 'file:./dir'],
  ['file:./x?mode=1', 'file:./dir'],
  ['file://elsewhere/dir', 'file:///absolute'],
  ['memory:', 'memory:trial'],
  ['memory:a/b', 'memory:trial'],
  ['s3:bucket', 's3://bucket'],
  ['s3://', 's3://bucket'],
  ['s3://b/x#y', 's3://bucket'],
  ['s3://bucket/x?Region=eu', 'region, endpoint, path-style'],
  ['s3://bucket/x?accessKeyId=A', 'region, endpoint, path-style'],
  ['s3://bucket/x?region=a&region=b', 'region, endpoint, path-style'],
  ['s3://bucket/x?region=', 'region, endpoint, path-style'],
  ['s3://bucket/x?path-style=yes', 'path-style=true'],
  ['s3://bucket/x?endpoint=ftp://h', 'https://host:port'],
  ['s3://bucket/x?endpoint=nonsense', 's3://bucket'],
  ['s3://bucket/x%', '%25'],
  [{ url: 's3://bucket?region=a', region: 'b' }, 'Leave one'],
  [{ url: './dir', region: 'eu' }, 's3://bucket'],
  [{ url: 'memory:x', pathStyle: true }, 's3://bucket'],
]

test('refuses what it does not know, and names what it accepts', async () => {
  for (const [spec, hint] of REFUSED) {
    for (const act of [openStore, describeStore]) {
      const error = await thrownBy(() => act(spec))
      expect(error, JSON.stringify(spec)).toMatchObject({ code: 'OPTION_INVALID', hint: expect.stringContaining(hint) })
    }
  }
})

test('refuses unknown members, also of the credentials', async () => {
  const given: [object, string][] = [
    [{ url: 's3://bucket', pathstyle: true }, 'pathStyle'],
    [{ url: 's3://bucket', credentials: { accessKeyId: 'a', secretAccessKey: 'b', token: 'c' } }, 'sessionToken'],
    [{ url: 's3://bucket', credentials: { accessKeyId: 'a' } }, 'secretAccessKey'],
    [{ url: 's3://bucket', credentials: { accessKeyId: 'a', secretAccessKey: '' } }, 'secretAccessKey'],
    [{}, 'file:./dir'],
  ]
  for (const [spec, hint] of given) {
    const error = await thrownBy(() => Reflect.apply(openStore, null, [spec]))
    expect(error, JSON.stringify(spec)).toMatchObject({ code: 'OPTION_INVALID', hint: expect.stringContaining(hint) })
  }
})

test('refuses secrets in a URL without repeating them', async () => {
  for (const url of ['s3://AKIAKEY:hunter2@bucket/x', 's3://hunter2@bucket', 's3://b/x?endpoint=http://u:hunter2@h']) {
    const error = await thrownBy(() => describeStore(url))
    expect(error.code).toBe('OPTION_INVALID')
    expect(JSON.stringify(error) + String(error.stack)).not.toContain('hunter2')
  }
})

async function thrownBy(act: () => unknown): Promise<TidemarkError> {
  try {
    await act()
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** A store as somebody else makes one; `fail` breaks its requests as a connection breaks. */
function ownStore(): { readonly objects: ObjectStore; readonly calls: string[]; fail: (() => unknown) | null } {
  const inner = new MemoryStore()
  const calls: string[] = []
  const own: ReturnType<typeof ownStore> = {
    calls,
    fail: null,
    objects: {
      put: (key, body, options) => ask('put', () => inner.put(key, body, options)),
      get: (key, range) => ask('get', () => inner.get(key, range)),
      head: (key) => ask('head', () => inner.head(key)),
      delete: (keys) => ask('delete', () => inner.delete(keys)),
      list: async function* (prefix, options) {
        await ask('list', async () => {})
        yield* inner.list(prefix, options)
      },
    },
  }
  const ask = async <T>(name: string, call: () => Promise<T>): Promise<T> => {
    calls.push(name)
    if (own.fail !== null) throw own.fail()
    return call()
  }
  return own
}

test('opens a store of somebody else, by whatever URL it has, and repeats what is to be repeated', async () => {
  const own = ownStore()
  const spec: StoreSpec = { url: 'azure://account/container', objects: own.objects }
  expect(describeStore(spec)).toBe('azure://account/container')
  expect(treeOf(spec)).toBeNull()
  const signed = { ...spec, url: 'azure://account/container?sig=secret#x' }
  expect(describeStore(signed)).toBe('azure://account/container')
  const store = await openStore(spec, { baseMs: 1 })
  await store.put('k', utf8('x'))
  own.fail = () => (own.calls.length < 4 ? new TidemarkError('STORE_UNAVAILABLE', 'm', { hint: 'h' }) : null)
  own.calls.length = 0
  const failing = await openStore(spec, { baseMs: 1, attempts: 2 })
  await expect(failing.get('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(own.calls).toEqual(['get', 'get'])
})

test('what a store of somebody else throws is a broken connection, and neither damage nor unexpected', async () => {
  const own = ownStore()
  const store = await openStore({ url: 'azure://account/container', objects: own.objects }, { baseMs: 1, attempts: 2 })
  await store.put('k', utf8('x'))
  own.fail = () => new Error('socket hang up')
  const list = async (): Promise<unknown> => {
    for await (const info of store.list('')) return info
    return null
  }
  const stream = async function* (): AsyncGenerator<Uint8Array> {
    yield utf8('x')
  }
  for (const call of [
    () => store.put('k', utf8('y')),
    () => store.put('k', stream()),
    () => store.get('k'),
    () => store.head('k'),
    () => store.delete(['k']),
    list,
  ]) {
    own.calls.length = 0
    await expect(call()).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/azure:\/\/account\/container failed: socket hang up/),
    })
    expect(own.calls.length).toBe(2)
  }
  own.fail = null
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield utf8('x')
    throw new Error('the source broke')
  }
  await expect(store.put('s', broken())).rejects.toThrow(/^the source broke$/)
  own.objects.put = () => {
    throw new Error('no promise')
  }
  await expect(store.put('s', stream())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  own.fail = () => new TidemarkError('STORE_DENIED', 'm', { hint: 'h' })
  await expect(store.get('k')).rejects.toMatchObject({ code: 'STORE_DENIED' })
})

test('refuses a store of somebody else that is none, or that says what it must not', async () => {
  const { objects } = ownStore()
  const { list: _, ...less } = objects
  const given: [object, RegExp][] = [
    [objects, /without its URL/],
    [{ url: 'azure://a/c', objects: less }, /is no store/],
    [{ url: 'azure://a/c', objects: 'azure' }, /is no store/],
    [{ url: 'azure://user:secret@a/c', objects }, /Credentials/],
    [{ url: 'azure://a/c', objects, region: 'eu' }, /'region'/],
    [{ url: './dir', objects }, /scheme of its own/],
    [{ url: 's3://bucket', objects }, /scheme of its own/],
    [{ url: 'file:./dir', objects }, /scheme of its own/],
    [{ url: 'azure:', objects, other: 1 }, /no member 'other'/],
  ]
  for (const [spec, message] of given) {
    for (const act of [openStore, describeStore]) {
      const error = await thrownBy(() => act(spec as StoreSpec))
      expect(error, String(message)).toMatchObject({ code: 'OPTION_INVALID', message: expect.stringMatching(message) })
      expect(JSON.stringify(error)).not.toContain('secret')
    }
  }
  expect(await thrownBy(() => openStore('azure://a/c'))).toMatchObject({
    hint: expect.stringContaining('objects: store'),
  })
})

const LOADED = `
import { registerHooks } from 'node:module'
const loaded = []
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
const { openStore } = await import(process.argv[1])
const isLoaded = () => loaded.some((url) => url.includes('/@aws-sdk/client-s3/'))
await openStore('memory:x')
const before = isLoaded()
await openStore({ url: 's3://bucket', region: 'eu-west-1' })
console.log(JSON.stringify([before, isLoaded()]))
`

test('the SDK of S3, which takes long to load, is loaded for a store in S3 and for no other', async () => {
  const module = new URL('../../../src/store/open.ts', import.meta.url).href
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', LOADED, module])
  expect(JSON.parse(stdout)).toEqual([false, true])
})
