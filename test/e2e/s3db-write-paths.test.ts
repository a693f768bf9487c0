import type { Resource } from 's3db.js/lite'
import { afterEach, describe, expect, it } from 'vitest'
import { as } from '../../src/engine/context.ts'
import type { Change } from '../../src/model/event.ts'
import { decodeStored } from '../../src/s3db/image.ts'
import { createSource } from '../../src/s3db/source.ts'
import { RecordingSink, replay, sameImage } from '../support/recording-sink.ts'
import {
  type ClientKind,
  essential,
  KINDS_OF_CLIENT,
  newDatabase,
  settled,
  type TestDatabase,
} from '../support/s3db.ts'
import { SCHEMA_KEY, schemaState, storedState } from '../support/stored-state.ts'

const BEHAVIORS = ['body-overflow', 'body-only', 'user-managed', 'enforce-limits', 'truncate-data'] as const
const ATTRIBUTES = {
  name: 'string',
  age: 'number|optional',
  tags: 'array|items:string|optional',
  st: 'string|optional',
  big: 'string|optional',
}

interface Setup extends TestDatabase {
  readonly sink: RecordingSink
  readonly items: Resource
}

const undo: (() => void)[] = []
afterEach(() => {
  for (const detach of undo.splice(0)) detach()
})

async function setup(kind: ClientKind, behavior: (typeof BEHAVIORS)[number] = 'body-overflow'): Promise<Setup> {
  const database = await newDatabase(kind)
  const sink = new RecordingSink()
  const source = createSource(database.db)
  undo.push(source.attach(sink))
  sink.check = async (items, after) => {
    for (const [i, item] of items.entries()) {
      // The derived image must be what reading would have given.
      expect(sameImage(after[i] ?? null, await source.read(item)), JSON.stringify(item)).toBe(true)
    }
  }
  const items = await database.db.createResource({
    name: 'items',
    attributes: { ...ATTRIBUTES },
    behavior,
    timestamps: true,
    paranoid: false,
    partitions: { bySt: { fields: { st: 'string' } } },
  })
  return { ...database, sink, items }
}

/** `insert items/1` and the like, of everything but schemas, since the last call. */
function told({ sink }: Setup, from = 0): string[] {
  return sink.changes
    .slice(from)
    .filter(({ kind }) => kind !== 'schema')
    .map(({ operation, resource, id }) => `${operation} ${resource}/${id}`)
}

async function expectReplayed(setup: Setup): Promise<void> {
  await settled()
  const { state, breaks } = replay(setup.sink.changes)
  expect(breaks).toEqual([])
  const stored = essential(await setup.stored())
  const schema = JSON.parse(Buffer.from(stored.get(SCHEMA_KEY)?.body ?? '{}').toString())
  stored.delete(SCHEMA_KEY)
  expect(storedState(state)).toEqual(stored)
  expect(schemaState(state, '')).toMatchObject({ resources: schema.resources ?? {} })
}

function json(change: Change | undefined, side: 'before' | 'after'): unknown {
  const image = change?.[side]
  return image === null || image === undefined ? null : JSON.parse(Buffer.from(image.json).toString())
}

const record = (id: string, extra: object = {}): { id: string; name: string } => ({ id, name: `name ${id}`, ...extra })

describe.each(KINDS_OF_CLIENT)('capture of the write paths on %s://', (kind) => {
  describe.each(BEHAVIORS)('behavior %s', (behavior) => {
    it('sees insert, update, patch, replace, upsert, updateConditional and delete once each, before and after', async () => {
      const s = await setup(kind, behavior)
      const { items } = s
      const from = s.sink.changes.length
      await items.insert(record('1', { age: 1, tags: ['a', 'b|c'], st: 'x' }))
      await items.update('1', { age: 2 })
      await items.patch('1', { age: 3 })
      await items.replace('1', { name: 'ünï → 漢', age: 4, st: 'y' })
      await items.upsert(record('1', { age: 5 }))
      await items.upsert(record('2', { age: 6 }))
      const { _etag } = await items.get('1')
      await items.updateConditional('1', { age: 7 }, { ifMatch: String(_etag) })
      await items.delete('1')
      await items.delete('missing').catch(() => null)
      await items.insert(record('2')).catch(() => null)
      expect(told(s, from)).toEqual([
        'insert items/1',
        'update items/1',
        'update items/1',
        'update items/1',
        'update items/1',
        'insert items/2',
        'update items/1',
        'delete items/1',
      ])
      const seen = s.sink.changes.filter(({ kind: k, id }) => k === 'record' && id === '1')
      expect(seen.map((change) => [ageOf(json(change, 'before')), ageOf(json(change, 'after'))])).toEqual([
        [undefined, 1],
        [1, 2],
        [2, 3],
        [3, 4],
        [4, 5],
        [5, 7],
        [7, undefined],
      ])
      expect(json(seen[0], 'after')).toMatchObject({ id: '1', name: 'name 1', age: 1, tags: ['a', 'b|c'], st: 'x' })
      await expectReplayed(s)
    })

    it('sees insertMany, deleteMany, streams, content, deleteAll and records that overflow', async () => {
      const s = await setup(kind, behavior)
      const { items } = s
      const from = s.sink.changes.length
      await items.insertMany(['a', 'b', 'c'].map((id) => record(id, { st: 'p' })))
      expect(told(s, from).sort()).toEqual(['insert items/a', 'insert items/b', 'insert items/c'])
      const bytes = Buffer.from([0, 255, 254, 1, 2, 128])
      await items.setContent({ id: 'a', buffer: bytes, contentType: 'image/png' })
      expect(json(s.sink.changes.at(-1), 'after')).toMatchObject({ _content: { type: 'image/png', bytes: 6 } })
      expect(rawBody(s.sink.changes.at(-1))).toEqual(bytes)
      await items.deleteContent('a')
      expect(json(s.sink.changes.at(-1), 'before')).toMatchObject({ _content: { type: 'image/png', bytes: 6 } })
      await items.insert(record('big', { big: 'x'.repeat(3000) })).catch(() => null)
      const kept = ['body-overflow', 'body-only', 'user-managed'].includes(behavior)
      if (kept) expect(json(s.sink.changes.at(-1), 'after')).toMatchObject({ id: 'big', big: 'x'.repeat(3000) })
      await writeStream(items, [record('s1'), record('s2')])
      await items.deleteMany(['b', 'c'])
      expect(told(s, from)).toEqual(expect.arrayContaining(['delete items/b', 'delete items/c', 'insert items/s1']))
      await expectReplayed(s)
      await settled()
      await items.deleteAll()
      expect(told(s, from)).toContain('delete items/a')
      await expectReplayed(s)
    })
  })

  it('sees what deleteAllData takes, also of another resource whose name begins alike', async () => {
    const s = await setup(kind)
    const log = await s.db.createResource({ name: 'log', attributes: { ...ATTRIBUTES }, paranoid: false })
    const logs = await s.db.createResource({ name: 'logs', attributes: { ...ATTRIBUTES } })
    await log.insert(record('1'))
    await logs.insert(record('2'))
    await log.deleteAllData()
    const deleted = told(s).filter((line) => line.startsWith('delete'))
    expect(deleted).toContain('delete log/1')
    // On memory:// the prefix `resource=log` also takes `logs`; files are walked by directory.
    expect(deleted.includes('delete logs/2')).toBe(kind === 'memory')
    await expectReplayed(s)
  })

  it('deletes many keys in bounded steps', async () => {
    const s = await setup(kind)
    await s.items.insertMany(Array.from({ length: 450 }, (_, i) => record(`n${i}`)))
    s.sink.writes.length = 0
    await s.items.deleteAll()
    expect(Math.max(...s.sink.writes.map((items) => items.length))).toBe(200)
    expect(s.sink.writes.flat().length).toBe(450)
    await expectReplayed(s)
  })

  it('sees sequences as objects and leaves locks and partitions out', async () => {
    const s = await setup(kind)
    const counted = await s.db.createResource({
      name: 'counted',
      attributes: { ...ATTRIBUTES },
      idGenerator: 'incremental',
      partitions: { bySt: { fields: { st: 'string' } } },
    })
    const from = s.sink.changes.length
    await counted.insert({ name: 'a', st: 'x' })
    await counted.insert({ name: 'b', st: 'y' })
    expect(told(s, from)).toEqual([
      'insert counted/sequence=id/value',
      'insert counted/1',
      'update counted/sequence=id/value',
      'insert counted/2',
    ])
    expect(json(s.sink.changes.at(-2), 'after')).toMatchObject({ id: 'sequence=id/value', value: 3, name: 'id' })
    await expectReplayed(s)
  })

  it('sees resources created, changed and dropped as schema changes of those resources only', async () => {
    const s = await setup(kind)
    const schemas = (from: number) =>
      s.sink.changes
        .slice(from)
        .filter((c) => c.kind === 'schema')
        .map(({ operation, resource }) => `${operation} ${resource}`)
    expect(schemas(0)).toEqual(['insert items'])
    let from = s.sink.changes.length
    await s.db.createResource({ name: 'other', attributes: { a: 'string' } })
    expect(schemas(from)).toEqual(['insert other'])
    from = s.sink.changes.length
    await s.db.createResource({ name: 'other', attributes: { a: 'string', b: 'number|optional' } })
    expect(schemas(from)).toEqual(['update other'])
    expect(json(s.sink.changes.at(-1), 'after')).toEqual(
      s.db.savedMetadata?.resources.other && JSON.parse(JSON.stringify(s.db.savedMetadata.resources.other)),
    )
    from = s.sink.changes.length
    Reflect.deleteProperty(s.db.resources, 'other')
    await s.db.uploadMetadataFile()
    expect(schemas(from)).toEqual(['delete other'])
    from = s.sink.changes.length
    await s.db.uploadMetadataFile()
    expect(schemas(from)).toEqual([])
  })

  it('moves objects as a write of one and a deletion of the other', async () => {
    const s = await setup(kind)
    await s.items.insert(record('1'))
    const from = s.sink.changes.length
    await s.db.client.moveObject({ from: 'resource=items/data/id=1', to: 'resource=items/data/id=9' })
    expect(told(s, from)).toEqual(['insert items/9', 'delete items/1'])
    await expectReplayed(s)
  })

  it('attributes writes, also those that happen later', async () => {
    const s = await setup(kind)
    await as({ actor: 'ann', tx: 't1', meta: { why: 'x' } }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1))
      await as({ actor: 'bob' }, () => s.items.insert(record('1')))
    })
    expect(s.sink.changes.at(-1)?.context).toEqual({ actor: 'bob', transaction: 't1', metadata: '{"why":"x"}' })
    await s.items.delete('1')
    expect(s.sink.changes.at(-1)?.context).toEqual({ actor: null, transaction: null, metadata: null })
  })

  it('is attached once, and gone when detached', async () => {
    const s = await setup(kind)
    const source = createSource(s.db)
    expect(() => source.attach(s.sink)).toThrow(expect.objectContaining({ code: 'SOURCE_ATTACHED' }))
    for (const detach of undo.splice(0)) detach()
    expect(Object.getOwnPropertyNames(s.db.client)).not.toContain('putObject')
    const count = s.sink.changes.length
    await s.items.insert(record('1'))
    expect(s.sink.changes.length).toBe(count)
    source.attach(s.sink)()
  })

  it('keeps chains unbroken when twenty writers meet on a few records', async () => {
    const s = await setup(kind, 'body-only')
    await s.items.insertMany(['a', 'b'].map((id) => record(id, { age: 0 })))
    const ops = Array.from({ length: 120 }, (_, i) => async () => {
      const id = i % 3 === 0 ? 'a' : 'b'
      if (i % 17 === 5) await s.items.delete(id)
      else if (i % 5 === 0) await s.items.upsert(record(id, { age: i }))
      else await s.items.update(id, { age: i })
    })
    const lanes = Array.from({ length: 20 }, async () => {
      for (let op = ops.pop(); op !== undefined; op = ops.pop()) await op().catch(() => null)
    })
    await Promise.all(lanes)
    await expectReplayed(s)
  })
})

function ageOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'age' in value ? value.age : undefined
}

function rawBody(change: Change | undefined): Buffer | null {
  const raw = change?.after?.raw
  return raw === null || raw === undefined ? null : Buffer.from(decodeStored(raw).body)
}

async function writeStream(resource: Resource, rows: readonly { id: string }[]): Promise<void> {
  const stream = resource.writable()
  for (const row of rows) await stream.write(row)
  await stream.end?.()
  await new Promise((resolve) => setTimeout(resolve, 200))
}
