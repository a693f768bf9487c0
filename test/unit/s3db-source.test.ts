import { describe, expect, it } from 'vitest'
import type { AwsCommand, Database, PutParams, StorageClient, StoredResponse } from '../../src/s3db/client.ts'
import { joinSchema, splitSchema } from '../../src/s3db/schema-items.ts'
import { createSource } from '../../src/s3db/source.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { KINDS_OF_CLIENT, newDatabase } from '../support/s3db.ts'

class Failure extends Error {
  readonly statusCode: number
  constructor(name: string, statusCode: number) {
    super(name)
    this.name = name
    this.statusCode = statusCode
  }
}

class PutObjectCommand implements AwsCommand {
  readonly input: { readonly Key: string; readonly Body: string; readonly Metadata: Record<string, string> }
  constructor(Key: string, Body: string, Metadata: Record<string, string>) {
    this.input = { Key, Body, Metadata }
  }
}

/** As much of a client of s3db.js on S3 as the source uses, over a map; it can lose the answer to a put. */
function remoteClient(
  keyPrefix: string,
): StorageClient & { loseAnswer: boolean; readonly objects: Map<string, PutParams> } {
  const objects = new Map<string, PutParams>()
  const full = (key: string): string => (keyPrefix === '' ? key : `${keyPrefix}/${key}`)
  const client = {
    loseAnswer: false,
    objects,
    connectionString: 'https://KEY:SECRET@minio.example:9000/bucket/app',
    config: { bucket: 'bucket', keyPrefix, endpoint: 'https://minio.example:9000' },
    client: {
      send: async ({ input }: AwsCommand) => {
        if (input?.Key !== undefined)
          objects.set(input.Key, { key: input.Key, body: '', metadata: { _v: '1', 0: 'fast' } })
        return {}
      },
    },
    putObject: async (params: PutParams) => {
      const there = objects.has(full(params.key))
      if (params.ifNoneMatch === '*' && there && !client.loseAnswer) throw new Failure('PreconditionFailed', 412)
      objects.set(full(params.key), params)
      if (client.loseAnswer) throw new Failure('PreconditionFailed', 412)
      return {}
    },
    copyObject: async () => ({}),
    deleteObject: async (key: string) => ({ done: objects.delete(full(key)) }),
    deleteObjects: async () => ({}),
    deleteAll: async () => 0,
    getObject: async (key: string): Promise<StoredResponse> => {
      const found = objects.get(full(key))
      if (found === undefined) throw new Failure('NoSuchKey', 404)
      const metadata = Object.fromEntries(
        Object.entries(found.metadata ?? {}).map(([name, value]) => [name, String(value)]),
      )
      const bytes = Buffer.from(typeof found.body === 'string' ? found.body : '')
      const type = found.contentType ?? 'application/octet-stream'
      return { Metadata: metadata, ContentType: type, Body: { transformToByteArray: async () => bytes } }
    },
    listObjects: async () => ({}),
    getAllKeys: async () => [],
  }
  return client
}

function database(client: StorageClient): Database {
  return { client, resources: {}, savedMetadata: { resources: {} } }
}

describe('a source on S3', () => {
  it('is named without credentials', () => {
    expect(createSource(database(remoteClient('app'))).identity).toBe('s3://bucket/app?endpoint=minio.example:9000')
  })

  it('knows an insert whose answer was lost from one that was refused', async () => {
    const client = remoteClient('')
    const sink = new RecordingSink()
    createSource(database(client)).attach(sink)
    const insert = { key: 'resource=r/data/id=1', metadata: { _v: '1', 0: 'a' }, body: '', ifNoneMatch: '*' }
    client.loseAnswer = true
    await expect(client.putObject(insert)).rejects.toThrow('PreconditionFailed')
    expect(sink.changes.map(({ operation }) => operation)).toEqual(['insert'])
    client.loseAnswer = false
    await expect(client.putObject({ ...insert, metadata: { _v: '1', 0: 'b' } })).rejects.toThrow('PreconditionFailed')
    expect(sink.changes.length).toBe(1)
  })

  it('does not say that an insert changed nothing where that cannot be read', async () => {
    const client = remoteClient('')
    const told: unknown[] = []
    createSource(database(client)).attach({
      capture: async (_items, _context, write) => {
        told.push(await write.read())
        return write.perform().catch(async (error: unknown) => {
          told.push(error, await write.read().catch((unread: unknown) => unread))
          throw error
        })
      },
    })
    client.loseAnswer = true
    const [refused, gone] = [new Failure('PreconditionFailed', 412), new Failure('SlowDown', 503)]
    client.getObject = async () => {
      throw gone
    }
    const insert = { key: 'resource=r/data/id=1', metadata: { _v: '1', 0: 'a' }, body: '', ifNoneMatch: '*' }
    await expect(client.putObject(insert)).rejects.toThrow('PreconditionFailed')
    expect(told).toEqual([[null], refused, gone])
  })

  it.each([
    ['', 'resource=r/data/id=1', ['insert']],
    ['app', 'app/resource=r/data/id=1', ['insert']],
    ['app', 'resource=r/data/id=1', []], // s3db.js forgets the prefix: not this database
  ])('sees fastInsert, prefix "%s", key %s', async (prefix, key, operations) => {
    const client = remoteClient(prefix)
    const sink = new RecordingSink()
    const detach = createSource(database(client)).attach(sink)
    await client.client?.send(new PutObjectCommand(key, '', {}))
    expect(sink.changes.map(({ operation }) => operation)).toEqual(operations)
    detach()
    await client.client?.send(new PutObjectCommand(`${key}2`, '', {}))
    expect(sink.changes.length).toBe(operations.length)
  })

  it('refuses databases that are not connected, or that can roll writes back', () => {
    const client = remoteClient('')
    const { client: _, ...unconnected } = database(client)
    expect(() => createSource(unconnected as Database)).toThrow(
      expect.objectContaining({ code: 'SOURCE_NOT_CONNECTED' }),
    )
    expect(() => createSource(database({ ...client, runInTransaction: () => null }))).toThrow(
      expect.objectContaining({ code: 'SOURCE_UNSUPPORTED' }),
    )
  })

  it('reads plugin storage only when asked for', async () => {
    for (const pluginStorage of [false, true]) {
      const client = remoteClient('')
      const sink = new RecordingSink()
      createSource(database(client), { pluginStorage }).attach(sink)
      await client.putObject({ key: 'plugin=p/x', body: '{"a":1}' })
      expect(sink.changes.map(({ resource, id }) => [resource, id])).toEqual(pluginStorage ? [['', 'plugin=p/x']] : [])
    }
  })
})

describe('schema items', () => {
  const file = {
    version: '1',
    s3dbVersion: '21',
    lastUpdated: '2026-01-01T00:00:00.000Z',
    resources: { b: { currentVersion: 'v1', n: { z: 1, a: [null, 'x'] } }, a: { currentVersion: 'v2' } },
  }

  it('split and join to the same file', () => {
    const images = splitSchema(JSON.stringify(file, null, 2))
    expect([...images.keys()].sort()).toEqual(['', 'a', 'b'])
    expect(Buffer.from(images.get('b')?.json ?? []).toString()).toBe(JSON.stringify(file.resources.b))
    expect(Buffer.from(images.get('')?.json ?? []).toString()).toBe('{"version":"1","s3dbVersion":"21"}')
    expect(joinSchema(images, file.lastUpdated)).toEqual(file)
    expect(splitSchema(null).size).toBe(0)
  })

  it('refuse a file that is damaged instead of taking it for empty', () => {
    expect(() => splitSchema('{"version":')).toThrow(expect.objectContaining({ code: 'SOURCE_UNSUPPORTED' }))
  })
})

it('files on a machine are what nobody syncs; what is in memory is gone with the process anyway', async () => {
  const said: unknown[] = []
  for (const kind of KINDS_OF_CLIENT) {
    const { db } = await newDatabase(kind)
    const { volatile, isUnsynced } = createSource(db)
    said.push([kind, volatile, isUnsynced])
  }
  const { volatile, isUnsynced } = createSource({ client: remoteClient(''), resources: {}, savedMetadata: null })
  expect([...said, ['s3', volatile, isUnsynced]]).toEqual([
    ['memory', true, false],
    ['file', false, true],
    ['s3', false, false],
  ])
})
