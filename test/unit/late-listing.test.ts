import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { RecordKeys } from '../../src/capture/record-keys.ts'
import { openStoreLog, storeLogKey } from '../../src/capture/store-log.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Item } from '../../src/model/event.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { openRig, type Rig } from '../support/capture-rig.ts'
import { STREAM, simpleFrame } from '../support/journal-frames.ts'
import { LateListing } from '../support/late-listing.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'late-listing-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const person = (id: string): Item => ({ kind: 'record', resource: 'people', id })

test('acknowledged frames in the store that no listing shows yet are recovered', async () => {
  for (const shown of [0, 1, 5]) {
    const store = new LateListing()
    const log = await openStoreLog(store, STREAM)
    for (let number = 1; number <= 12; number++) {
      if (number === shown + 1) await store.freeze()
      await log.append(simpleFrame(number))
    }
    const again = await openStoreLog(store, STREAM)
    expect(again.range, `${shown} shown`).toEqual({ first: 1, last: 12 })
    await again.append(simpleFrame(13))
  }
})

test('a frame that a listing leaves out in the middle is read, and is missing only where it is not there', async () => {
  const store = new LateListing()
  const log = await openStoreLog(store, STREAM)
  for (let number = 1; number <= 9; number++) await log.append(simpleFrame(number))
  await store.delete([storeLogKey(STREAM, 4)])
  await store.freeze()
  await store.put(storeLogKey(STREAM, 4), simpleFrame(4))
  expect((await openStoreLog(store, STREAM)).range).toEqual({ first: 1, last: 9 })
  await store.delete([storeLogKey(STREAM, 4)])
  await expect(openStoreLog(store, STREAM)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
})

/** Writes records and deletes them again; how often each is sealed is up to the caller. */
async function writeAndDelete(rig: Rig, database: ModelDatabase, ids: readonly string[]): Promise<void> {
  for (const id of ids) await database.write(person(id), recordImage({ id }))
  await rig.session.complete(null)
  for (const id of ids) await database.write(person(id), null)
  await rig.session.complete(null)
}

test('an erasure removes every file that held the record, also those that no listing shows yet', async () => {
  const [store, database] = [new LateListing(), new ModelDatabase()]
  database.put(person('ann'), recordImage({ id: 'ann' }))
  await store.freeze()
  const rig = await openRig({ store, database, directory, clock: systemClock, ack: 'memory' })
  await rig.session.complete(null)
  await writeAndDelete(rig, database, ['ann'])
  const { segments, snapshots } = (await eraseRecord(rig.archive, person('ann'), { reason: 'asked for' })).plan
  expect(Math.min(segments.length, snapshots.length)).toBeGreaterThan(0)
  store.thaw()
  const left = await keysOf(store.list(''))
  for (const { key } of segments) expect(left).not.toContain(key)
  for (const { prefix } of snapshots) expect(left.filter((key) => key.startsWith(prefix))).toEqual([])
  await rig.session.close()
})

test('what a listing shows to be final is read as it was, what it does not show yet as it is, and what was erased by nobody', async () => {
  const [store, database] = [new LateListing(), new ModelDatabase()]
  const rig = await openRig({ store, database, directory, clock: systemClock, ack: 'memory' })
  const written: string[] = []
  for (let n = 1; n <= 3; n++) {
    await database.write(person('ann'), recordImage({ id: 'ann', n }))
    await rig.session.complete(null)
    written.push((await rig.timeline.refresh()).streams[0]?.lastUlid ?? '')
    if (n === 2) await store.freeze()
  }
  const annAt = async (moment: string): Promise<unknown> => {
    const reader = await Tidemark.open({ store: { url: 'test://late', objects: store } })
    return reader
      .at(moment)
      .get('people', 'ann')
      .finally(() => reader.close())
  }
  for (const [i, ulid] of written.entries()) expect(await annAt(ulid)).toEqual({ id: 'ann', n: i + 1 })
  expect(await annAt('latest')).toEqual({ id: 'ann', n: 3 })
  await database.write(person('ann'), null)
  await rig.session.complete(null)
  await eraseRecord(rig.archive, person('ann'), { reason: 'asked for' })
  // The listing still shows the generation from before, whose files have gone.
  await expect(annAt(written[0] ?? '')).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  await rig.session.close()
})

test('two erasures by keys in a row leave no keyring of the first, also where no listing shows it yet', async () => {
  const [store, keys, database] = [new LateListing(), new LateListing(), new ModelDatabase()]
  const rig = await openRig({ store, keys, database, directory, clock: systemClock, ack: 'memory' })
  await rig.session.complete(null)
  await writeAndDelete(rig, database, ['ann', 'bob'])
  await keys.freeze()
  for (const id of ['ann', 'bob']) await eraseRecord(rig.archive, person(id), { reason: 'asked for' })
  keys.thaw()
  const left = new RecordKeys({ keys, name: 'the keys', store: '01KAJ0QZX3N5V7E8T9RYBWDCFG', timeline: rig.timeline })
  expect(await left.generations()).toEqual([3])
  expect(await left.unfinished()).toBeNull()
  await rig.session.close()
})
