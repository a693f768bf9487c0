import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { hasCode } from '../../src/base/errors.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import { formatHead } from '../../src/model/head.ts'
import { MIN_ULID } from '../../src/model/ulid.ts'
import { Segments } from '../../src/restore/segments.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { planErasure, rewriteWithout } from '../../src/upkeep/erase.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { openReader } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { allEvents, showEvent } from '../support/segments.ts'
import { random } from '../support/simulated-disk.ts'
import { FaultyStore, GatedStore } from '../support/stores.ts'

const VICTIM = 'canary-id'
const item = (id: string): { kind: 'record'; resource: string; id: string } => ({
  kind: 'record',
  resource: 'people',
  id,
})

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'erasure-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Built {
  readonly database: ModelDatabase
  readonly heads: string[]
  /** What every other record was after each event, by ULID: what the database itself was given. */
  readonly states: Map<string, Map<string, string>>
}

async function capture(database: ModelDatabase): Promise<Tidemark> {
  return Tidemark.capture({ store: `file:${directory}/store`, source: database, journal: `${directory}/journal` })
}

/** A history of six records, one of them the victim, with snapshots in between; the victim is deleted in the end. */
async function build(seed: number): Promise<Built> {
  const next = random(seed)
  const database = new ModelDatabase()
  const heads: string[] = []
  const states = new Map<string, Map<string, string>>()
  const ids = [VICTIM, 'a', 'b', 'c', 'd', 'e']
  for (const id of ids) if (next() < 0.5) await database.write(item(id), imageOf(id, -1))
  const tidemark = await capture(database)
  await tidemark.flush()
  for (let round = 0; round < 4; round++) {
    const rounds = 2 + Math.floor(next() * 8)
    for (let i = 0; i < rounds; i++) {
      const id = ids[Math.floor(next() * ids.length)] ?? 'a'
      const gone = next() < 0.2
      await database.write(item(id), gone ? null : imageOf(id, next()), { actor: id === VICTIM ? 'canary-actor' : 'x' })
    }
    // A seal of nothing but the victim: a segment without a row.
    await tidemark.flush()
    await database.write(item(VICTIM), imageOf(VICTIM, next()))
    await tidemark.flush()
    if (round % 2 === 0) await tidemark.snapshot()
    heads.push(formatHead(await tidemark.head()))
  }
  await database.write(item(VICTIM), null)
  await tidemark.flush()
  for (const id of ids.slice(1)) {
    for await (const { stamp } of tidemark.history('people', id))
      states.set(stamp.ulid, await stateAt(tidemark, stamp.ulid))
  }
  await tidemark.close()
  return { database, heads, states }
}

function imageOf(id: string, value: number): ReturnType<typeof recordImage> {
  const secret = id === VICTIM ? 'canary-value' : 'plain'
  const text = Buffer.from(`raw ${secret} ${value}`)
  return recordImage({ id, value, secret }, Buffer.concat([Uint8Array.of(0xd9, text.length), text]))
}

async function stateAt(tidemark: Tidemark, moment: string): Promise<Map<string, string>> {
  const state = new Map<string, string>()
  for await (const { id, image } of tidemark.at(moment).states()) {
    if (id !== VICTIM) state.set(id, Buffer.from(image.json).toString() + Buffer.from(image.raw ?? []).toString('hex'))
  }
  return state
}

/** Every file of the store as plain as it gets: Parquet decoded, gzip inflated. */
async function contents(): Promise<string> {
  const root = join(directory, 'store')
  const texts: string[] = []
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!statSync(join(root, name)).isFile()) continue
    const bytes = readFileSync(join(root, name))
    texts.push(name, bytes.toString('latin1'))
    if (name.endsWith('.gz')) texts.push(gunzipSync(bytes).toString('latin1'))
    if (!name.endsWith('.parquet')) continue
    const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
    const reader = await openSegment({ name, bytes: bytes.length, footer: null, read })
    for (const event of await allEvents(reader)) texts.push(showEvent(event))
  }
  return texts.join('\n')
}

/** That nothing of the victim is left, all else is as it was, and the history still proves itself. */
async function check({ heads, states }: Built): Promise<void> {
  const text = await contents()
  for (const canary of ['canary-id', 'canary-value', 'canary-actor', hex('canary-value')])
    expect(text).not.toContain(canary)
  const tidemark = await Tidemark.open({ store: `file:${directory}/store` })
  for (const head of heads) expect((await tidemark.verify({ head })).damage).toEqual([])
  for (const [moment, state] of states) {
    expect(await stateAt(tidemark, moment)).toEqual(state)
    expect(await tidemark.at(moment).get('people', VICTIM)).toBeNull()
  }
  for await (const event of tidemark.history('people', VICTIM)) expect.fail(`an event is left: ${showEvent(event)}`)
  await tidemark.close()
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex')
}

test('an erased record is in no file and at no moment, and everything else is what it was', {
  timeout: 120_000,
}, async () => {
  for (const seed of [1, 2, 3]) {
    const built = await build(seed)
    expect(await contents()).toContain('canary-value')
    const tidemark = await capture(built.database)
    const { entry } = await tidemark.erase('people', VICTIM, { reason: 'asked to', by: 'ann' })
    expect(entry).toMatchObject({ resource: 'people', mode: 'rewritten', reason: 'asked to', by: 'ann' })
    expect(entry?.events).toBeGreaterThan(4)
    await tidemark.close()
    await check(built)
    // Another record of the same id may come later, and is kept.
    const again = await capture(built.database)
    await built.database.write(item(VICTIM), recordImage({ id: VICTIM, fresh: true }))
    await again.flush()
    expect(await again.at('latest').get('people', VICTIM)).toEqual({ id: VICTIM, fresh: true })
    expect((await again.verify()).damage).toEqual([])
    await again.close()
    rmSync(directory, { recursive: true, force: true })
  }
})

test('an erasure that is broken off at any call to the store is ended by the next one', {
  timeout: 240_000,
}, async () => {
  let ended = false
  for (let call = 1; !ended; call += 5) {
    const built = await build(7)
    const files = new FilesystemStore(`${directory}/store`)
    let calls = 0
    const point = call % 2 === 0 ? 'before' : 'after'
    const store = new FaultyStore(files, () => (++calls === call ? point : null))
    ended = await broken(store)
    const tidemark = await Tidemark.open({ store: `file:${directory}/store` })
    if (!ended) await tidemark.erase('people', VICTIM, { reason: 'again' }).catch(expectDone)
    await tidemark.close()
    await check(built)
    rmSync(directory, { recursive: true, force: true })
  }
})

/** Whether it went through before the fault was due. */
async function broken(store: ObjectStore, victim = VICTIM): Promise<boolean> {
  try {
    const timeline = await TimelineLog.open(store)
    const sources = {
      store,
      segments: new Segments(store),
      snapshots: new Snapshots(store),
      nodes: segmentNodes(store),
      memory: 1 << 27,
      scratch: () => new MemoryStore(),
      open: null,
    }
    const plan = await planErasure(sources, timeline.timeline, item(victim))
    const ulid = timeline.timeline.streams.reduce(
      (end, { sealedThrough }) => (sealedThrough > end ? sealedThrough : end),
      MIN_ULID,
    )
    await rewriteWithout(sources, timeline, plan, { ulid, reason: 'first', by: null })
    return true
  } catch (error) {
    if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error
    return false
  }
}

/** Only the answer was lost: there is nothing left to do. */
function expectDone(error: unknown): void {
  expect(error).toMatchObject({ code: 'RECORD_NOT_FOUND' })
}

test("two erasures at the same time do not take each other's files away", async () => {
  const database = new ModelDatabase()
  const tidemark = await capture(database)
  await tidemark.flush()
  for (const value of [1, null]) {
    for (const id of ['a', 'b', 'c']) {
      await database.write(item(id), value === null && id !== 'c' ? null : imageOf(id, 1))
      await tidemark.flush()
    }
  }
  const files = new FilesystemStore(`${directory}/store`)
  const { promise: other, resolve: otherIsDone } = Promise.withResolvers<void>()
  const { promise: written, resolve: hasWritten } = Promise.withResolvers<void>()
  const store = new GatedStore(files, 'timeline/', () => {
    hasWritten()
    return other
  })
  // Everything is written again without `a`, and not committed yet, when all of another erasure comes to pass.
  const first = broken(store, 'a')
  await written
  await tidemark.erase('people', 'b', { reason: 'r' })
  otherIsDone()
  await expect(first).rejects.toMatchObject({ code: 'ERASURE_RACED' })
  expect((await tidemark.verify()).damage).toEqual([])
  await tidemark.erase('people', 'a', { reason: 'r' })
  expect((await tidemark.verify()).damage).toEqual([])
  expect(await tidemark.at('latest').get('people', 'c')).toMatchObject({ id: 'c' })
  await tidemark.close()
})

test('a snapshot that was under way during an erasure leaves nothing behind, or is told where it cannot be deleted', async () => {
  const { database } = await build(5)
  const tidemark = await capture(database)
  await tidemark.flush()
  const files = new FilesystemStore(`${directory}/store`)
  for (const mayDelete of [true, false]) {
    const id = `late-${mayDelete}`
    await database.write(item(id), imageOf(id, 1))
    let moment = ''
    for await (const { stamp } of tidemark.history('people', id)) moment = stamp.ulid
    const { promise: erased, resolve } = Promise.withResolvers<void>()
    let begun = false
    const gate = new GatedStore(files, 'snapshot/', () => {
      begun = true
      return erased
    })
    const refuse = async (): Promise<never> => Promise.reject(new Error('no right to delete'))
    const store: ObjectStore = mayDelete
      ? gate
      : {
          put: (key, body, options) => gate.put(key, body, options),
          get: (key, range) => gate.get(key, range),
          head: (key) => gate.head(key),
          list: (prefix, options) => gate.list(prefix, options),
          delete: refuse,
        }
    const { archive, timeline } = await openReader(store, systemClock)
    const { plan } = await archive.reach(moment)
    const snapshot = takeSnapshot(archive.sources, timeline, plan, 'model://test')
    snapshot.catch(() => undefined)
    await vi.waitFor(() => expect(begun).toBe(true))
    await database.write(item(id), null)
    await tidemark.erase('people', id, { reason: 'r' })
    resolve()
    await expect(snapshot).rejects.toMatchObject({ code: 'ERASURE_RACED' })
    const { damage, unreferenced } = await tidemark.verify()
    expect(unreferenced).toEqual([])
    expect([...new Set(damage.map(({ code }) => code))]).toEqual(mayDelete ? [] : ['ERASURE_INCOMPLETE'])
    archive.close()
  }
  await tidemark.erase('people', 'late-false', { reason: 'again' })
  expect((await tidemark.verify()).damage).toEqual([])
  await tidemark.close()
})

test('what a killed process may have written, and what nobody can ask for, is waited for', async () => {
  await build(6)
  const files = new FilesystemStore(`${directory}/store`)
  const before = await contents()
  for (const told of [
    { undecided: [item(VICTIM)], unheard: [] },
    { undecided: [], unheard: ['01KAJ0QZX3N5V7E8T9RYBWDCFG'] },
  ]) {
    const { archive } = await openReader(files, systemClock, undefined, async () => told)
    const erasing = eraseRecord(archive, item(VICTIM), { reason: 'r' })
    await expect(erasing).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
    archive.close()
  }
  expect(await contents()).toEqual(before)
  const told = { undecided: [item('a')], unheard: [] }
  const { archive } = await openReader(files, systemClock, undefined, async () => told)
  const { entry } = await eraseRecord(archive, item(VICTIM), { reason: 'r' })
  expect(entry?.events).toBeGreaterThan(0)
  archive.close()
})

test('a record that still exists is not erased, and one that never was is not found', async () => {
  const { database } = await build(4)
  const tidemark = await capture(database)
  await database.write(item('a'), imageOf('a', 1))
  const before = await contents()
  await expect(tidemark.erase('people', 'a', { reason: 'r' })).rejects.toMatchObject({ code: 'RECORD_EXISTS' })
  await expect(tidemark.erase('people', 'nobody', { reason: 'r' })).rejects.toMatchObject({ code: 'RECORD_NOT_FOUND' })
  await expect(tidemark.erase('people', VICTIM, { reason: '' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  const { plan, entry } = await tidemark.erase('people', VICTIM, { reason: 'r', dryRun: true })
  expect([plan.segments.length > 3, plan.snapshots.length > 0, entry]).toEqual([true, true, null])
  await tidemark.close()
  expect((await contents()).length).toBeGreaterThanOrEqual(before.length)
})
