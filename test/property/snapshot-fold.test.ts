import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { Image, Item, Kind } from '../../src/model/event.ts'
import type { SnapshotEntry } from '../../src/model/timeline.ts'
import { SnapshotReader } from '../../src/restore/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { liveState, openRig, stateAt, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { random } from '../support/random.ts'

const KIB = 1024
const ULID = '01KAAAAAAAAAAAAAAAAAAAAAAA'
const RANK: readonly Kind[] = ['schema', 'object', 'record']

/** What snapshot files hold, inflated, and the schemas: all but how the files are cut into members. */
async function contentsOf(store: MemoryStore, { prefix }: Pick<SnapshotEntry, 'prefix'>): Promise<unknown> {
  const { manifest } = await SnapshotReader.open(store, prefix, null)
  const lines = async (file: { file: string; records: number } | null): Promise<unknown> =>
    file === null
      ? null
      : [file.file, file.records, gunzipSync(await store.get(`${prefix}${file.file}`)).toString('latin1')]
  const resources = []
  for (const { name, schema, records, objects } of manifest.resources) {
    resources.push([name, schema, await lines(records), await lines(objects)])
  }
  return [manifest.schema, await lines(manifest.objects), resources]
}

/** The same of what the database holds, written without any event. */
async function contentsFrom(database: ModelDatabase): Promise<unknown> {
  const bytes = (text: string): Buffer => Buffer.from(text)
  const states = [...database.items_.values()]
    .map(({ item, image }) => ({ ...item, image }))
    .sort(
      (a, b) =>
        RANK.indexOf(a.kind) - RANK.indexOf(b.kind) ||
        Buffer.compare(bytes(a.resource), bytes(b.resource)) ||
        Buffer.compare(bytes(a.id), bytes(b.id)),
    )
  const store = new MemoryStore()
  const writer = new SnapshotWriter({ store, prefix: 'all/', ulid: ULID, database: database.identity })
  await writer.add(states)
  await writer.finish()
  return contentsOf(store, { prefix: 'all/' })
}

/** Uncompressed bytes of the members of each file. */
async function memberSizes(store: MemoryStore, { prefix }: SnapshotEntry): Promise<number[][]> {
  const { manifest } = await SnapshotReader.open(store, prefix, null)
  const files = [manifest.objects, ...manifest.resources.flatMap(({ records, objects }) => [objects, records])]
  const sizes: number[][] = []
  for (const file of files) {
    if (file === null) continue
    const whole = await store.get(`${prefix}${file.file}`)
    sizes.push(file.members.map(([offset, bytes]) => gunzipSync(whole.subarray(offset, offset + bytes)).length))
    expect(sizes.at(-1)?.reduce((a, b) => a + b)).toBe(file.uncompressedBytes)
  }
  return sizes
}

/** One of few items of every kind, some in resources that come and go, and with ids that sort apart from UTF-16. */
function itemOf(next: () => number, ids: number): Item {
  const resource = ['', 'a', 'ab', 'b/c', '\u{1f600}'][Math.floor(next() * 5)] ?? 'a'
  const kind: Kind = next() < 0.06 ? 'schema' : next() < 0.1 || resource === '' ? 'object' : 'record'
  const id = ['', '\ufb01', '\u{1f600}', 'm'][Math.floor(next() * 4)] ?? ''
  return { kind, resource, id: kind === 'schema' ? '' : `${id}${Math.floor(next() * ids)}` }
}

function imageOf({ kind, id }: Item, next: () => number): Image {
  const size = kind === 'schema' ? 20 : next() < 0.02 ? 900 * KIB : (10 + next() * 90) * KIB
  const text = Math.floor(next() * 1e9)
    .toString(36)
    .repeat(Math.ceil(size / 6))
  return recordImage({ id, text }, next() < 0.3 ? new Uint8Array([0xc4, 2, 1, Math.floor(next() * 256)]) : null)
}

test('a snapshot that is made from the one before is what the database holds, byte for byte, in members of bounded sizes', async () => {
  let carried = 0
  for (const seed of [1, 2, 3, 4]) {
    const next = random(seed)
    const database = new ModelDatabase()
    const ids = 10 + Math.floor(next() * 40)
    const write = async (item: Item): Promise<void> => {
      await database.write(item, next() < 0.25 ? null : imageOf(item, next))
    }
    for (let i = 0; i < ids * 6; i++) await write(itemOf(next, ids))
    const store = new MemoryStore()
    // Now and then so little that events are merged in passes.
    const memory = seed % 2 === 0 ? 1 : 1e7
    const rig = await openRig({ store, database, directory: '', clock: systemClock, ack: 'memory', memory })
    for (let round = 0; round < 5; round++) {
      const writes = Math.floor(next() * (round % 2 === 0 ? 3 : 40))
      for (let i = 0; i < writes; i++) await write(itemOf(next, ids))
      // A resource that goes, and comes again.
      const gone = ['a', 'ab'][Math.floor(next() * 8)]
      for (const { item } of [...database.items_.values()])
        if (item.resource === gone && item.kind === 'record') await database.write(item, null)
      await rig.session.complete(null)
      const { plan } = await rig.archive.reachLast()
      const { timeline } = rig
      const taken = await takeSnapshot(rig.archive.sources, timeline, plan, database.identity)
      expect(await contentsOf(store, taken)).toEqual(await contentsFrom(database))
      expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(database))
      carried += taken.carried.members
      for (const sizes of await memberSizes(store, taken)) {
        for (const size of sizes.slice(0, -1)) expect(size).toBeGreaterThanOrEqual(256 * KIB)
        // With the line that is the last of it.
        for (const size of sizes) expect(size).toBeLessThan((768 + 1000) * KIB)
      }
    }
    expect((await verify(rig.archive)).damage).toEqual([])
    await rig.session.close()
  }
  expect(carried).toBeGreaterThan(30)
})
