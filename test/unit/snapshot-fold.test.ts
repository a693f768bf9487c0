import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { sha256 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { MANIFEST_FILE } from '../../src/format/keys.ts'
import { encodeManifest, type Member, type SnapshotFile } from '../../src/format/manifest.ts'
import type { SnapshotEntry, Timeline } from '../../src/model/timeline.ts'
import { lastUlidAt, ulidTime } from '../../src/model/ulid.ts'
import type { Plan } from '../../src/restore/plan.ts'
import { SnapshotReader } from '../../src/restore/snapshot-reader.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { show } from '../support/arbitrary.ts'
import { liveState, openReader, openRig, type Rig, stateAt, verify } from '../support/capture-rig.ts'
import { keyOf, ModelDatabase, recordImage } from '../support/model-database.ts'
import { CountingStore, GatedStore } from '../support/stores.ts'

const RECORDS = 4000
const TEXT = 'some text that is the same in every record. '.repeat(24)

function stateOf(n: number, value = 0): ItemState {
  const id = `r${String(n).padStart(5, '0')}`
  return { kind: 'record', resource: 'notes', id, image: recordImage({ id, n, value, text: TEXT }) }
}

interface World {
  readonly database: ModelDatabase
  readonly store: MemoryStore
  readonly rig: Rig
  readonly first: SnapshotEntry
}

/** A store whose one snapshot has some members. */
async function open(keys?: MemoryStore): Promise<World> {
  const database = new ModelDatabase()
  for (let n = 0; n < RECORDS; n++) database.put(stateOf(n), stateOf(n).image)
  const store = new MemoryStore()
  const options = { store, database, directory: '', clock: systemClock, ack: 'memory' as const }
  const rig = await openRig(keys === undefined ? options : { ...options, keys })
  await rig.session.complete(null)
  const [first] = rig.timeline.timeline.snapshots
  if (first === undefined) throw new Error('there is no baseline')
  return { database, store, rig, first }
}

async function planOf({ rig }: World): Promise<Plan> {
  await rig.session.complete(null)
  return (await rig.archive.reachLast()).plan
}

async function take(world: World): ReturnType<typeof takeSnapshot> {
  const plan = await planOf(world)
  return takeSnapshot(world.rig.archive.sources, world.rig.timeline, plan, 'model://test')
}

async function fileOf(store: ObjectStore, { prefix }: SnapshotEntry): Promise<SnapshotFile> {
  const { manifest } = await SnapshotReader.open(store, prefix, null)
  const file = manifest.resources[0]?.records
  if (file == null) throw new Error('there is no file')
  return file
}

async function prefixesOf(store: ObjectStore): Promise<string[]> {
  const keys = await keysOf(store.list('snapshot/'))
  return [...new Set(keys.map((key) => key.slice(0, key.lastIndexOf('/') + 1)))].sort()
}

const hashes = ({ members }: SnapshotFile): string[] => members.map(([, , , , hash]) => hash)

test('records that change in one member cost that one: the others go over with their hashes, asked for in few requests', async () => {
  const world = await open()
  const { database, store, rig, first } = world
  // It is longer now, and another one comes behind the last one of its member.
  const next = (await fileOf(store, first)).members[4]?.[3] ?? ''
  const last = Number(next.slice(1)) - 1
  await database.write(stateOf(last), recordImage({ id: stateOf(last).id, text: TEXT.repeat(9) }))
  const behind = { ...stateOf(last), id: `${stateOf(last).id}+` }
  await database.write(behind, recordImage({ id: behind.id }))
  const plan = await planOf(world)
  const counting = new CountingStore(store)
  const { archive, timeline } = await openReader(counting, systemClock)
  counting.reset()
  const taken = await takeSnapshot(archive.sources, timeline, plan, 'model://test')
  const [before, after] = [await fileOf(store, first), await fileOf(store, taken)]
  expect(before.members.length).toBeGreaterThan(7)
  expect(hashes(after).filter((hash) => hashes(before).includes(hash)).length).toBe(before.members.length - 1)
  expect(taken.carried.members).toBe(before.members.length - 1)
  expect(taken.written).toEqual({ members: 1, bytes: after.bytes - taken.carried.bytes })
  // The manifest, the file of the snapshot, and the segment with its footer.
  expect(counting.log.filter((call) => call.startsWith('get snapshot/'))).toHaveLength(2)
  expect(counting.bytesRead).toBeLessThan(plan.bytes + 100)
  expect(await verify(rig.archive)).toMatchObject({ damage: [] })
  await rig.session.close()
})

test('a member without a change is never inflated; one whose hash is wrong is refused, and nothing is left of the attempt', async () => {
  const world = await open()
  const { database, store, rig, first } = world
  const { manifest } = await SnapshotReader.open(store, first.prefix, null)
  const file = await fileOf(store, first)
  const key = `${first.prefix}${file.file}`
  const whole = Buffer.from(await store.get(key))
  const [offset, length] = file.members[3] ?? [0, 0]
  // In the place of a member something that is no gzip at all, and whose hash is right.
  randomBytes(length).copy(whole, offset)
  const hash = sha256(whole.subarray(offset, offset + length))
  const members = file.members.map((one, i): Member => (i === 3 ? [one[0], one[1], one[2], one[3], hash] : one))
  const resources = manifest.resources.map((one) => ({ ...one, records: { ...file, members } }))
  const text = Buffer.from(encodeManifest({ ...manifest, resources }))
  await store.put(key, whole)
  await store.put(`${first.prefix}${MANIFEST_FILE}`, text)
  const { archive, timeline } = await openReader(store, systemClock)
  const attempt = async (): ReturnType<typeof takeSnapshot> => {
    const plan = await planOf(world)
    const segments = rig.timeline.timeline.segments.tail
    const snapshot = { ...first, manifestSha256: sha256(text) }
    return takeSnapshot(archive.sources, timeline, { ...plan, snapshot, segments }, 'model://test')
  }
  await database.write(stateOf(0), stateOf(0, 1).image)
  await database.write(stateOf(RECORDS + 1), stateOf(RECORDS + 1).image)
  expect(hashes(await fileOf(store, await attempt()))).toContain(hash)
  const inside = Number(members[3]?.[3].slice(1)) + 1
  await database.write(stateOf(inside), stateOf(inside, 1).image)
  const files = await keysOf(store.list('snapshot/'))
  const because = (what: string): object => ({ code: 'SNAPSHOT_CORRUPT', message: expect.stringContaining(what) })
  await expect(attempt()).rejects.toMatchObject(because('does not inflate'))
  whole[offset] = (whole[offset] ?? 0) ^ 1
  await store.put(key, whole)
  await expect(attempt()).rejects.toMatchObject(because('the hash of the part'))
  expect(await keysOf(store.list('snapshot/'))).toEqual(files)
  await rig.session.close()
})

test('where nothing happened no snapshot is made, and nothing is put', async () => {
  const world = await open()
  const { database, store, rig, first } = world
  const counting = new CountingStore(store)
  const { archive, timeline } = await openReader(counting, systemClock)
  counting.reset()
  const again = (plan: Plan): ReturnType<typeof takeSnapshot> =>
    takeSnapshot(archive.sources, timeline, plan, 'model://test')
  expect(await again(await planOf(world))).toMatchObject({ ...first, isNew: false, carried: { members: 0 } })
  expect(counting.log).toEqual([])
  await database.write(stateOf(7), stateOf(7, 1).image)
  const taken = await take(world)
  expect(taken.isNew).toBe(true)
  // The stream goes on being complete, and the last segment reaches to before the snapshot only.
  const plan = await planOf(world)
  expect(await again(plan)).toMatchObject({ prefix: taken.prefix, isNew: false })
  const [segment] = rig.timeline.timeline.segments.tail
  if (segment === undefined) throw new Error('there is no segment')
  // One whose events are all before the snapshot, although its entry says less of them.
  const moment = lastUlidAt(ulidTime(plan.moment) + 1)
  const later = { ...segment, lastUlid: moment }
  expect(await again({ ...plan, moment, segments: [later] })).toMatchObject({ prefix: taken.prefix, isNew: false })
  expect(counting.log.filter((call) => call.startsWith('put'))).toEqual([])
  await rig.session.close()
})

test('of two that make the same snapshot one is entered, and the files of the other are gone', async () => {
  const world = await open()
  const { database, store, rig } = world
  await database.write(stateOf(7), stateOf(7, 1).image)
  const plan = await planOf(world)
  const { promise: gate, resolve } = Promise.withResolvers<void>()
  const { archive, timeline } = await openReader(new GatedStore(store, 'timeline/', () => gate), systemClock)
  const slow = takeSnapshot(archive.sources, timeline, plan, 'model://test')
  const quick = await take(world)
  resolve()
  expect(await slow).toMatchObject({ prefix: quick.prefix, isNew: false })
  expect(quick.isNew).toBe(true)
  expect(await prefixesOf(store)).toEqual(rig.timeline.timeline.snapshots.map(({ prefix }) => prefix))
  expect(await verify(rig.archive)).toMatchObject({ damage: [] })
  await rig.session.close()
})

test('a snapshot that is not wanted any more when it could be entered is not, and its files are gone', async () => {
  const world = await open()
  const { database, store, rig } = world
  await database.write(stateOf(7), stateOf(7, 1).image)
  const plan = await planOf(world)
  const asked: number[] = []
  const isWanted = ({ snapshots }: Timeline): boolean => asked.push(snapshots.length) < 0
  const taken = await takeSnapshot(rig.archive.sources, rig.timeline, plan, 'model://test', { isWanted })
  expect(taken).toMatchObject({ prefix: plan.snapshot.prefix, isNew: false })
  expect(asked).toEqual([1])
  expect(await prefixesOf(store)).toEqual([plan.snapshot.prefix])
  await rig.session.close()
})

test('what was planned before a record was erased is not made a snapshot of, although all of that is known by now', async () => {
  for (const keys of [undefined, new MemoryStore()]) {
    const world = await open(keys)
    const { database, store, rig } = world
    await database.write(stateOf(7), stateOf(7, 1).image)
    const plan = await planOf(world)
    await database.write(stateOf(7), null)
    await rig.session.complete(null)
    await eraseRecord(rig.archive, stateOf(7), { reason: 'asked to' })
    await rig.timeline.refresh()
    const files = await keysOf(store.list('snapshot/'))
    await expect(takeSnapshot(rig.archive.sources, rig.timeline, plan, 'model://test')).rejects.toMatchObject({
      code: 'ERASURE_RACED',
    })
    expect(await keysOf(store.list('snapshot/'))).toEqual(files)
    await rig.session.close()
  }
})

test('in an encrypted store members go over too, under the numbers of the files of the new snapshot', async () => {
  const database = new ModelDatabase()
  for (let n = 0; n < RECORDS; n++) database.put(stateOf(n), stateOf(n).image)
  for (const resource of ['a', 'z']) database.put({ ...stateOf(1), resource }, stateOf(1).image)
  const objects = new MemoryStore()
  const encryption = { key: new Uint8Array(32).fill(1) }
  const store = { url: 'own://secret', objects, encryption }
  const tidemark = await Tidemark.capture({ store, source: database, ack: 'memory', snapshots: false })
  await tidemark.flush()
  await tidemark.at('latest').resources()
  await database.write({ ...stateOf(1), resource: 'a' }, null)
  await database.write(stateOf(2000), stateOf(2000, 1).image)
  const { prefix, carried, isNew } = await tidemark.snapshot()
  expect([isNew, carried.members > 6]).toEqual([true, true])
  const files = (await keysOf(objects.list(prefix))).map((key) => key.slice(prefix.length))
  expect(files).toEqual(['1.jsonl.gz', '2.jsonl.gz', 's3db.json'])
  const found = new Map<string, string>()
  for await (const state of tidemark.at('latest').states()) found.set(keyOf(state), show(state.image))
  expect(found).toEqual(liveState(database))
  expect((await tidemark.verify()).damage).toEqual([])
  await tidemark.close()
})

test('members stay few and none is small, however often single records come and go', async () => {
  const world = await open()
  const { database, store, rig, first } = world
  const before = await fileOf(store, first)
  const each = Math.floor(RECORDS / before.members.length)
  for (let round = 0; round < 6; round++) {
    for (let member = 0; member < before.members.length; member += 2) {
      const n = member * each + round
      const isDeleted = round % 3 === 1
      // Now and then all of a member but one record.
      for (let i = 0; i < (isDeleted ? each - 1 : 1); i++)
        await database.write(stateOf(n + i), isDeleted ? null : stateOf(n + i, round).image)
    }
    await database.write(stateOf(RECORDS + round), stateOf(RECORDS + round).image)
    const { members, uncompressedBytes } = await fileOf(store, await take(world))
    expect(members.length).toBeLessThanOrEqual(Math.ceil(uncompressedBytes / (256 * 1024)))
  }
  expect(await verify(rig.archive)).toMatchObject({ damage: [] })
  await rig.session.close()
})

test('sealed images go over as they are, and the record whose key was destroyed stays unreadable in them', async () => {
  const world = await open(new MemoryStore())
  const { database, store, rig, first } = world
  await database.write(stateOf(100), null)
  await rig.session.complete(null)
  await eraseRecord(rig.archive, stateOf(100), { reason: 'asked to' })
  await database.write(stateOf(3999), stateOf(3999, 1).image)
  const taken = await take(world)
  expect(taken.carried.members).toBe((await fileOf(store, first)).members.length - 2)
  expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(database))
  expect(await verify(rig.archive)).toMatchObject({ damage: [] })
  await rig.session.close()
})
