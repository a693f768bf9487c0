import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Kind } from '../../src/model/event.ts'
import { SnapshotReader } from '../../src/restore/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { image, show, trickyId } from '../support/arbitrary.ts'

const ulid = '01KAAAAAAAAAAAAAAAAAAAAAAA'
const RANK: Kind[] = ['schema', 'object', 'record']

const state: fc.Arbitrary<ItemState> = fc
  .record({ kind: fc.constantFrom<Kind>('schema', 'object', 'record'), resource: trickyId, id: trickyId, image })
  .map((item) => (item.kind === 'schema' ? { ...item, id: '' } : item))
  .map((item) => (item.kind === 'record' && item.resource === '' ? { ...item, resource: 'r' } : item))

/** The documented order, written again with buffers. */
function sorted(states: readonly ItemState[]): ItemState[] {
  const byKey = new Map(states.map((item) => [JSON.stringify([item.kind, item.resource, item.id]), item]))
  return [...byKey.values()].sort(
    (a, b) =>
      RANK.indexOf(a.kind) - RANK.indexOf(b.kind) ||
      Buffer.compare(Buffer.from(a.resource), Buffer.from(b.resource)) ||
      Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)),
  )
}

function describeState({ kind, resource, id, image }: ItemState): string {
  return JSON.stringify([kind, resource, id, show(image)])
}

async function write(store: MemoryStore, states: readonly ItemState[]): Promise<string> {
  const writer = new SnapshotWriter({ store, prefix: 'snapshot/x/', ulid, database: 'memory://test' })
  for (let i = 0; i < states.length; i += 3) await writer.add(states.slice(i, i + 3))
  return (await writer.finish()).manifestSha256
}

test('a snapshot gives back every item, image and order, as a whole and one by one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(state, { maxLength: 30 }), async (given) => {
      const states = sorted(given)
      const store = new MemoryStore()
      const reader = await SnapshotReader.open(store, 'snapshot/x/', await write(store, states))
      const read: string[] = []
      for await (const { kind, resource, lines } of reader.lines({})) {
        for (const line of lines)
          read.push(JSON.stringify([kind, resource, Buffer.from(line.id).toString(), show(line.image())]))
      }
      expect(read).toEqual(states.map(describeState))
      for (const item of states) expect(show(await reader.find(item))).toBe(show(item.image))
      expect(await reader.find({ kind: 'record', resource: 'r', id: 'no such id' })).toBe(null)
    }),
    { numRuns: 200 },
  )
})

test('a file of many members is read by one member for one id, and its lines are plain JSON with the record in it', async () => {
  const states = Array.from({ length: 20_000 }, (_, i) => {
    const id = `u${String(i).padStart(6, '0')}`
    const json = new Uint8Array(Buffer.from(JSON.stringify({ id, text: `${i} `.repeat(20) })))
    return { kind: 'record' as const, resource: 'users', id, image: { json, raw: null } }
  })
  const store = new MemoryStore()
  const reader = await SnapshotReader.open(store, 'snapshot/x/', await write(store, states))
  expect(reader.manifest.resources[0]?.records?.members.length).toBeGreaterThan(3)
  const whole = gunzipSync(await store.get('snapshot/x/users.jsonl.gz')).toString()
  const lines = whole
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.length).toBe(20_000)
  lines.forEach((line, i) => {
    const { _tidemark, ...record } = line
    expect(record).toEqual(JSON.parse(Buffer.from(states[i]?.image.json ?? []).toString()))
  })
  for (const i of [0, 1, 9_999, 19_999])
    expect(show(await reader.find(states[i] as ItemState))).toBe(show(states[i]?.image ?? null))
})

test('a flipped byte anywhere in a snapshot is refused, or changes nothing', async () => {
  const store = new MemoryStore()
  const states = sorted([
    { kind: 'schema', resource: 'r', id: '', image: { json: new Uint8Array(Buffer.from('{"a":1}')), raw: null } },
    {
      kind: 'record',
      resource: 'r',
      id: 'x',
      image: { json: new Uint8Array(Buffer.from('{"id":"x","n":1}')), raw: new Uint8Array([0xa1, 0x61]) },
    },
  ])
  const hash = await write(store, states)
  for (const key of ['snapshot/x/s3db.json', 'snapshot/x/r.jsonl.gz']) {
    const good = await store.get(key)
    for (let i = 0; i < good.length; i++) {
      const bad = Uint8Array.from(good)
      bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8))
      await store.put(key, bad)
      const read: string[] = []
      const outcome = await SnapshotReader.open(store, 'snapshot/x/', hash)
        .then(async (reader) => {
          for await (const { kind, resource, lines } of reader.lines({})) {
            for (const line of lines)
              read.push(JSON.stringify([kind, resource, Buffer.from(line.id).toString(), show(line.image())]))
          }
          return 'read'
        })
        .catch((error) => error.code)
      if (outcome === 'read') expect(read).toEqual(states.map(describeState))
      else expect(outcome).toBe('SNAPSHOT_CORRUPT')
    }
    await store.put(key, good)
  }
})

test('lines that are copied stay byte for byte, and an image that moves to another id is written anew', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(state, { maxLength: 30 }), async (given) => {
      const store = new MemoryStore()
      const reader = await SnapshotReader.open(store, 'snapshot/x/', await write(store, sorted(given)))
      const read: ItemState[] = []
      for await (const { kind, resource, lines } of reader.lines({})) {
        for (const line of lines)
          read.push({ kind, resource, id: Buffer.from(line.id).toString(), image: line.image() })
      }
      const copy = new MemoryStore()
      expect(await write(copy, read)).toBe(await write(store, sorted(given)))
      const moved = read.map((item) => ({ ...item, id: item.kind === 'schema' ? '' : `${item.id}+` }))
      const again = sorted(moved)
      const other = await SnapshotReader.open(copy, 'snapshot/x/', await write(copy, again))
      for (const item of again) expect(show(await other.find(item))).toBe(show(item.image))
    }),
    { numRuns: 100 },
  )
})
