import { createHash } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Client } from 's3db.js'
import { FileSystemClient, MemoryClient } from 's3db.js/lite'
import { describe, expect, it } from 'vitest'
import type { Write } from '../../src/capture/source.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { dialectOf } from '../../src/s3db/access.ts'
import type { CopyParams, PutParams, StorageClient } from '../../src/s3db/client.ts'
import { DeleteWrite } from '../../src/s3db/delete-write.ts'
import { Reader } from '../../src/s3db/reader.ts'
import { CopyWrite, PutWrite } from '../../src/s3db/writes.ts'

const ID_OF_300 = 'x'.repeat(300)

/** The writes of a client, outside of any recorder. */
class Rig {
  readonly client: StorageClient
  readonly reader: Reader

  constructor(client: StorageClient) {
    this.client = client
    this.reader = new Reader({ client, resources: {}, savedMetadata: null }, false)
  }

  put(id: string, params: Partial<PutParams> = {}): PutWrite {
    const given = { key: `resource=u/data/id=${id}`, ...params }
    return new PutWrite(item(id), given, this.reader, dialectOf(this.client), () => this.client.putObject(given))
  }

  copy(from: string, to: string, params: Partial<CopyParams> = {}): CopyWrite {
    const given = { from: `resource=u/data/id=${from}`, to: `resource=u/data/id=${to}`, ...params }
    const items = [item(to), item(from)]
    return new CopyWrite(items, given, this.reader, dialectOf(this.client), () => this.client.copyObject(given))
  }

  delete(...ids: string[]): DeleteWrite<object> {
    const remove = (): Promise<object> => this.client.deleteObjects(ids.map((id) => `resource=u/data/id=${id}`))
    const parts = { remove, isComplete: () => true, mostBytes: 1e9 }
    return new DeleteWrite(ids.map(item), this.reader, dialectOf(this.client), parts)
  }
}

function item(id: string): Item {
  return { kind: 'record', resource: 'u', id }
}

/** A client of s3db.js: the types that it declares have private members that no type of ours can have. */
function clientFrom(kind: new (options: never) => object, options: object): StorageClient {
  return Reflect.construct(kind, [options])
}

function memory(): Rig {
  return new Rig(clientFrom(MemoryClient, { bucket: `writes-${Math.random()}`, logLevel: 'silent' }))
}

async function files(): Promise<Rig> {
  const basePath = await mkdtemp(join(tmpdir(), 'tidemark-writes-'))
  return new Rig(clientFrom(FileSystemClient, { basePath, logLevel: 'silent' }))
}

/** s3db.js's own client for S3, over a connection that answers every command with `failure`. */
function remote(failure: object, read: () => Promise<object> = () => Promise.reject(failure)): Rig {
  const send = async (command: object): Promise<object> => {
    if (command.constructor.name === 'GetObjectCommand') return read()
    throw failure
  }
  const options = { connectionString: 'http://key:secret@s3.example/bucket', AwsS3Client: { send } }
  return new Rig(clientFrom(S3Client, options))
}

function answer(name: string, httpStatusCode: number, attempts = 1): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode, attempts } })
}

async function failureOf<T>(write: Write<T>): Promise<unknown> {
  await write.read()
  return write.perform().then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error,
  )
}

async function refuses<T>(write: Write<T>): Promise<boolean | undefined> {
  return write.refused?.(await failureOf(write))
}

function hashOf(image: Image | null | undefined): string {
  return createHash('sha256')
    .update(image?.raw ?? '')
    .digest('hex')
}

function hex(bytes: Uint8Array | null): string {
  return Buffer.from(bytes ?? []).toString('hex')
}

describe('what a write is meant to leave', () => {
  it('is known of a put before it is done, and is what is read afterwards', async () => {
    for (const rig of [memory(), await files()]) {
      const write = rig.put('a', { metadata: { _v: '1', 0: 'ação' }, body: '{"x":1}' })
      await write.read()
      const meant = write.meant()
      await write.perform()
      expect(hex(meant)).toBe(hashOf(await rig.reader.image(item('a'))))
      expect(hex(meant)).toBe(hashOf(write.after()[0]))
    }
  })

  it('is known of a copy from its origin', async () => {
    const rig = memory()
    await rig.client.putObject({ key: 'resource=u/data/id=a', metadata: { 0: 'x' }, body: 'b' })
    const write = rig.copy('a', 'c', { metadata: { 1: 'y' }, metadataDirective: 'REPLACE' })
    await write.read()
    const meant = write.meant()
    await write.perform()
    expect(hex(meant)).toBe(hashOf(await rig.reader.image(item('c'))))
  })

  it('is nothing after a deletion', () => {
    expect(memory().delete('a', 'b').meant()).toEqual(new Uint8Array(0))
  })
})

describe('a refusal', () => {
  it('is what the file system says of an id that it cannot hold', async () => {
    const rig = await files()
    for (const id of [ID_OF_300, 'a\0b']) {
      const insert = rig.put(id, { ifNoneMatch: '*' })
      expect(await refuses(insert)).toBe(true)
      expect(await insert.read()).toEqual([null])
      expect(await refuses(rig.put(id))).toBe(true)
      expect(await rig.reader.image(item(id))).toBeNull()
    }
  })

  it('is what S3 says of a key that it cannot hold', async () => {
    for (const name of ['KeyTooLongError', 'XMinioInvalidObjectName', 'InvalidURI', 'SomethingElse']) {
      for (const id of ['x'.repeat(1100), 'a\0b']) {
        const rig = remote(answer(name, 400))
        expect(await refuses(rig.put(id))).toBe(true)
        expect(await rig.reader.image(item(id))).toBeNull()
      }
    }
  })

  it('is not what S3 says of a key that it can hold, nor where it answers for another reason', async () => {
    await expect(remote(answer('SomethingElse', 400)).reader.image(item('a'))).rejects.toThrow()
    for (const status of [403, 429, 503])
      await expect(remote(answer('Other', status)).reader.image(item('x'.repeat(1100)))).rejects.toThrow()
  })

  it('is a condition that was not met', async () => {
    for (const rig of [memory(), await files()]) {
      await rig.client.putObject({ key: 'resource=u/data/id=a', metadata: { 0: 'ann' } })
      expect(await refuses(rig.put('a', { ifNoneMatch: '*', metadata: { 0: 'eve' } }))).toBe(true)
    }
  })

  it('is none where an earlier attempt of an insert was done after all', async () => {
    const stored = async (): Promise<object> => ({
      Metadata: { 0: 'eve' },
      ContentType: 'application/octet-stream',
      Body: { transformToByteArray: async () => new Uint8Array(0) },
    })
    const rig = remote(answer('PreconditionFailed', 412), stored)
    expect(await refuses(rig.put('a', { ifNoneMatch: '*', metadata: { 0: 'eve' } }))).toBe(false)
    expect(await refuses(rig.put('a', { ifNoneMatch: '*', metadata: { 0: 'ann' } }))).toBe(true)
  })

  it('is an answer to the only attempt that says so, and nothing else', async () => {
    const missing = async (): Promise<object> => Promise.reject(answer('NoSuchKey', 404))
    const of = (failure: object): Promise<boolean | undefined> => refuses(remote(failure, missing).put('a'))
    expect(await of(answer('AccessDenied', 403))).toBe(true)
    expect(await of(answer('EntityTooLarge', 413))).toBe(true)
    expect(await of(answer('AccessDenied', 403, 2))).toBe(false)
    for (const status of [408, 409, 429, 500, 503]) expect(await of(answer('Failure', status))).toBe(false)
    expect(await of(answer('RequestTimeout', 400))).toBe(false)
    expect(await of(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))).toBe(false)
    expect(await of(Object.assign(new Error('late'), { name: 'TimeoutError' }))).toBe(false)
  })

  it('does not cover what several deletions did before one of them failed', async () => {
    const missing = async (): Promise<object> => Promise.reject(answer('NoSuchKey', 404))
    const write = remote(answer('AccessDenied', 403), missing).delete('a', 'b')
    expect(write.refused(answer('AccessDenied', 403))).toBe(false)
  })

  it('never is a bucket that is not there', async () => {
    await expect(remote(answer('NoSuchBucket', 404)).reader.image(item('a'))).rejects.toThrow()
  })
})
