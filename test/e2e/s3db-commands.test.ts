import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { describe, expect, it } from 'vitest'
import type { AwsCommand, StorageClient } from '../../src/s3db/client.ts'
import { createSource } from '../../src/s3db/source.ts'
import { headerStore } from '../support/header-store.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { newDatabase } from '../support/s3db.ts'

const keyOf = (id: string): string => `resource=records/data/id=${id}`

interface Rig {
  readonly client: StorageClient
  readonly sink: RecordingSink
  /** Names a key, or the origin of a copy, as commands of this client do. */
  readonly bucket: string
  readonly close: () => void
}

async function rig(kind: string): Promise<Rig> {
  const sink = new RecordingSink()
  if (kind === 's3') {
    const store = await headerStore()
    const detach = createSource({ client: store.client, resources: {}, savedMetadata: null }).attach(sink)
    return { client: store.client, sink, bucket: 'bucket', close: () => [detach(), store.close()] }
  }
  const { db } = await newDatabase(kind === 'file' ? 'file' : 'memory')
  const detach = createSource(db).attach(sink)
  const client: StorageClient = Object.assign(db.client)
  return { client, sink, bucket: client.config?.bucket ?? '', close: detach }
}

function told({ changes }: RecordingSink): string[] {
  return changes.map(({ operation, id }) => `${operation} ${id}`)
}

describe.each(['memory', 'file', 's3'])('commands of the AWS SDK past the methods of the client, %s', (kind) => {
  it('are captured', async () => {
    const { client, sink, bucket: Bucket, close } = await rig(kind)
    const send = (command: AwsCommand): Promise<object> | undefined => client.sendCommand?.(command)
    await send(new PutObjectCommand({ Bucket, Key: keyOf('a'), Body: 'one', Metadata: { 0: 'x' } }))
    await send(new PutObjectCommand({ Bucket, Key: keyOf('a'), Body: 'two' }))
    await send(new GetObjectCommand({ Bucket, Key: keyOf('a') }))
    await send(new DeleteObjectCommand({ Bucket, Key: keyOf('a') }))
    expect(told(sink)).toEqual(['insert a', 'update a', 'delete a'])
    close()
  })

  it('of the client itself are not captured twice', async () => {
    const { client, sink, close } = await rig(kind)
    await client.putObject({ key: keyOf('a'), body: 'one', ifNoneMatch: '*' })
    await client.putObject({ key: keyOf('a'), body: 'two' })
    await client.deleteObject(keyOf('a'))
    expect(told(sink)).toEqual(['insert a', 'update a', 'delete a'])
    expect(sink.writes.length).toBe(3)
    close()
  })
})

describe('a command whose answer is told to a function', () => {
  it('is captured when it is done, and tells it', async () => {
    const { client, sink, bucket: Bucket, close } = await rig('s3')
    const send = (command: AwsCommand): Promise<unknown> =>
      new Promise((resolve) =>
        client.client?.send(command, (error: unknown, answer: unknown) => resolve(error ?? answer)),
      )
    expect(await send(new PutObjectCommand({ Bucket, Key: keyOf('a'), Body: 'one' }))).toMatchObject({ $metadata: {} })
    await send(new PutObjectCommand({ Bucket, Key: keyOf('a'), Body: 'two' }))
    expect(await send(new GetObjectCommand({ Bucket, Key: keyOf('b') }))).toBeInstanceOf(Error)
    await send(new DeleteObjectCommand({ Bucket, Key: keyOf('a') }))
    expect(told(sink)).toEqual(['insert a', 'update a', 'delete a'])
    close()
  })
})

describe.each(['memory', 'file'])('commands about several objects, %s', (kind) => {
  it('are captured for each', async () => {
    const { client, sink, bucket, close } = await rig(kind)
    await client.putObject({ key: keyOf('a'), body: 'one' })
    const CopySource = `${bucket}/${client.config?.keyPrefix ? `${client.config.keyPrefix}/` : ''}${keyOf('a')}`
    await client.sendCommand?.(new CopyObjectCommand({ Bucket: bucket, Key: keyOf('b'), CopySource }))
    const Objects = ['a', 'b', 'b', 'missing'].map((id) => ({ Key: keyOf(id) }))
    await client.sendCommand?.(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }))
    expect(told(sink)).toEqual(['insert a', 'insert b', 'delete a', 'delete b'])
    close()
  })

  it('are captured as schema changes where they write s3db.json', async () => {
    const { client, sink, bucket: Bucket, close } = await rig(kind)
    const Body = JSON.stringify({ version: '1', resources: { records: { currentVersion: 'v1' } } })
    await client.sendCommand?.(new PutObjectCommand({ Bucket, Key: 's3db.json', Body }))
    const Objects = [{ Key: 's3db.json' }, { Key: keyOf('a') }]
    await client.sendCommand?.(new PutObjectCommand({ Bucket, Key: keyOf('a'), Body: 'one' }))
    await client.sendCommand?.(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
    const seen = sink.changes.map(({ operation, kind: what, resource }) => `${operation} ${what} ${resource}`)
    expect(seen.filter((line) => line.includes('records'))).toEqual([
      'insert schema records',
      'insert record records',
      'delete record records',
      'delete schema records',
    ])
    close()
  })
})

describe.each(['memory', 'file'])('what passes beneath every object, %s', (kind) => {
  it('is refused while the client is captured, and nothing is changed', async () => {
    const { client, sink, close } = await rig(kind)
    await client.putObject({ key: keyOf('a'), body: 'one' })
    await expect(client.clear?.()).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
    if (kind === 'memory') {
      expect(() => client.restore?.({})).toThrow(expect.objectContaining({ code: 'SOURCE_UNSUPPORTED' }))
    }
    expect(await client.exists?.(keyOf('a'))).toBe(true)
    await client.deleteAll({ prefix: keyOf('') })
    expect(told(sink)).toEqual(['insert a', 'delete a'])
    close()
    if (kind === 'memory') await client.clear?.()
  })
})

describe('a file system that keeps what s3db.js says it has deleted', () => {
  const ways: [string, (client: StorageClient, key: string) => Promise<unknown>][] = [
    ['deleteObject', (client, key) => client.deleteObject(key)],
    ['deleteObjects', (client, key) => client.deleteObjects([key])],
    ['deleteAll', (client, key) => client.deleteAll({ prefix: key })],
  ]
  it.each(ways)('%s: the history does not say that it is gone', async (_, remove) => {
    const { client, sink, close } = await rig('file')
    await client.putObject({ key: keyOf('a'), body: 'one' })
    // What s3db.js answers where the directory is mounted for reading only: it takes no notice of the error.
    Object.assign(client.storage ?? {}, { delete: async () => ({ DeleteMarker: false, VersionId: null }) })
    await remove(client, keyOf('a'))
    expect(await client.exists?.(keyOf('a'))).toBe(true)
    expect(told(sink)).toEqual(['insert a'])
    close()
  })
})
