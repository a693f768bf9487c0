import { afterEach, expect, test } from 'vitest'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { pruneArchive } from '../../src/engine/prune.ts'
import { isNodeKey } from '../../src/format/keys.ts'
import type { Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { type Verification, verifyStore } from '../../src/upkeep/verify.ts'
import { ALL_TOLD, openReader, openRig, type Rig } from '../support/capture-rig.ts'
import { BEGIN, SetClock } from '../support/kept-history.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { CountingStore } from '../support/stores.ts'

const MINUTE = 60_000
const SEALS = 120

/** A history of ten hours with a snapshot in each, most of it below the root. */
interface Past {
  readonly store: MemoryStore
  readonly clock: SetClock
  readonly rig: Rig
}

let ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends) await end()
  ends = []
})

const item = (n: number): Item => ({ kind: 'record', resource: 'r', id: `r${n}` })

async function build(): Promise<Past> {
  const [store, clock, database] = [new MemoryStore(), new SetClock(), new ModelDatabase()]
  const rig = await openRig({ store, database, directory: '', clock, ack: 'memory' })
  ends.push(async () => {
    await rig.session.close()
    rig.archive.close()
  })
  await rig.session.complete(null)
  for (let n = 0; n < SEALS; n++) {
    clock.set(BEGIN + n * 5 * MINUTE)
    for (let i = 0; i < 3; i++) await database.write(item((n + i) % 7), recordImage({ n, i }))
    if (n === SEALS - 1) await database.write(item(2), null)
    await rig.session.complete(null)
    if (n % 12 === 11) await snapshot(rig)
  }
  return { store, clock, rig }
}

async function snapshot({ archive, timeline }: Rig): Promise<void> {
  const { plan } = await archive.reachLast()
  await takeSnapshot(archive.sources, timeline, plan, 'model://test')
}

/** What another process does to the store while it is verified; generations go, but for the last. */
type Upkeep = (past: Past) => Promise<void>

const merged: Upkeep = async ({ store, clock }) => {
  const timeline = await TimelineLog.open(store)
  const seams = { store, timeline, clock, memory: 1e7 }
  const { merges } = await compact({ ...seams, write: (run, onFile) => writeRun(store, run, onFile) }, { graceMs: 0 })
  expect(merges.length).toBeGreaterThan(5)
}

const pruned: Upkeep = async ({ store, clock }) => {
  const { archive } = await openReader(store, clock)
  const options = { policy: { window: '2h' }, confirm: true, grace: '0ms' }
  for (let run = 0; run < 3; run++) await pruneArchive(archive, options)
  archive.close()
}

const erased: Upkeep = async ({ store, clock, rig: { session } }) => {
  const { archive } = await openReader(store, clock, undefined, async (through) => {
    await session.complete(through)
    return ALL_TOLD
  })
  await eraseRecord(archive, item(2), { reason: 'asked for' })
  archive.close()
}

async function forget(store: ObjectStore): Promise<void> {
  await forgetGenerations(store, await TimelineLog.open(store), { kept: 1, least: 1 })
}

/** A verification in which `act` happens at the first segment that is read. */
async function verifiedWhile({ store, clock }: Past, act: () => Promise<void>): Promise<Verification & Read> {
  const counting = new CountingStore(store)
  let isFirst = true
  const between: ObjectStore = {
    get: async (key, range) => {
      if (isFirst && key.startsWith('segment/')) {
        isFirst = false
        await act()
      }
      return counting.get(key, range)
    },
    put: (key, body, options) => counting.put(key, body, options),
    head: (key) => counting.head(key),
    list: (prefix, options) => counting.list(prefix, options),
    delete: (keys) => counting.delete(keys),
  }
  const { archive, timeline } = await openReader(between, clock)
  ends.push(async () => archive.close())
  const had = new Set<string>()
  for await (const { key } of store.list('')) had.add(key)
  const files: string[] = []
  const listeners = { onFile: (key: string) => void files.push(key), onDamage: () => {}, onUnreferenced: () => {} }
  const found = await verifyStore(archive.sources, timeline.timeline, listeners)
  return { ...found, read: files, had }
}

interface Read {
  readonly read: readonly string[]
  readonly had: ReadonlySet<string>
}

const UPKEEP: readonly (readonly [string, readonly Upkeep[]])[] = [
  ['merged', [merged]],
  ['pruned', [pruned]],
  ['erased', [erased]],
  ['merged, and a record of it erased', [merged, erased]],
  ['merged and pruned', [merged, pruned]],
]

test.for(UPKEEP)(
  'what others have %s meanwhile is no damage, and what is in its place is read once',
  async ([_, steps]) => {
    const past = await build()
    for (const step of steps.slice(0, -1)) await step(past)
    await forget(past.store)
    const { damage, read, had } = await verifiedWhile(past, async () => {
      await steps.at(-1)?.(past)
      await forget(past.store)
    })
    expect(damage).toEqual([])
    const bulk = read.filter((key) => /^(segment|snapshot)\//.test(key))
    expect(bulk.length).toBeGreaterThan(8)
    expect(new Set(bulk).size).toBe(bulk.length)
    // What was there in the beginning is not all that was read.
    if (steps.at(-1) === merged) expect(bulk.filter((key) => !had.has(key)).length).toBeGreaterThan(5)
  },
)

test.for(['node', 'segment', 'file of a run', 'chain file', 'index of a run', 'snapshot'])(
  'a %s that is missing is damage, whoever goes on meanwhile',
  async (what) => {
    const past = await build()
    if (what.includes('run') || what.includes('chain')) await merged(past)
    await forget(past.store)
    const { timeline } = await TimelineLog.open(past.store)
    const keys: string[] = []
    for await (const { key } of past.store.list('')) keys.push(key)
    const kinds: Readonly<Record<string, (key: string) => boolean>> = {
      node: (key) => timeline.segments.nodes.some((node) => node.key === key),
      segment: (key) => key.includes('/00/') && !timeline.segments.tail.some((entry) => entry.key === key),
      'file of a run': (key) => /\/0[1-4]\/0000-/.test(key),
      'chain file': (key) => key.includes('/chain-'),
      'index of a run': (key) => key.includes('/index-'),
      snapshot: (key) => /^snapshot\/.*r\.jsonl\.gz$/.test(key),
    }
    const victim = keys.find(kinds[what] ?? isNodeKey) ?? ''
    expect(victim).not.toBe('')
    for (const act of [async () => {}, () => snapshot(past.rig)]) {
      await past.store.delete([victim])
      const { damage } = await verifiedWhile(past, act)
      expect(damage.map(({ key }) => key)).toContain(victim)
    }
  },
)
