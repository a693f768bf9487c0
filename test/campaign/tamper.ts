import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '../../src/base/bytes.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { timelineKey } from '../../src/format/keys.ts'
import type { SegmentChain } from '../../src/format/segment/chain.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { encodeColumns, encodeSegment } from '../../src/format/segment/encode.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import type { Event } from '../../src/model/event.ts'
import { formatHead } from '../../src/model/head.ts'
import type { StreamEntry, StreamSegment, Timeline } from '../../src/model/timeline.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { catalogueNodes, madeGeneration, readHead } from '../../src/timeline/head.ts'
import { EMPTY_LEDGER } from '../../src/timeline/ledger.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { sealedSegments } from '../support/catalogue.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { allEvents, frames } from '../support/segments.ts'
import { random } from '../support/simulated-disk.ts'
import type { Campaign, Tally } from './campaign.ts'

/*
 * An enemy who can write to the store and knows the format: after the change every checksum, hash and generation is
 * made anew. Either the chain is left as it was, or it is computed anew as well: then only a head that was noted
 * elsewhere can tell.
 */
type Attack = 'change' | 'remove' | 'insert' | 'swap' | 'renumber'
const ATTACKS: readonly Attack[] = ['change', 'remove', 'insert', 'swap', 'renumber']

export const tamper: Campaign = { name: 'tamper', seeds: 200, run }

async function run(seed: number, tally: Tally): Promise<void> {
  const next = random(seed)
  const directory = mkdtempSync(join(tmpdir(), 'tamper-'))
  try {
    const noted = await build(directory, next)
    await expectClean(directory, noted, tally)
    const kind = Math.floor(next() * 7)
    if (kind === 5) await rollBack(directory, noted, next, tally)
    else await attack(directory, noted, next, tally, ATTACKS[kind % ATTACKS.length] ?? 'change')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A store with a baseline and a few segments of two openings; returns heads noted on the way. */
async function build(directory: string, next: () => number): Promise<string[]> {
  const database = new ModelDatabase()
  const noted: string[] = []
  for (let opening = 0; opening < 2; opening++) {
    const tidemark = await Tidemark.capture({
      store: `file:${directory}/store`,
      source: database,
      journal: `${directory}/journal`,
    })
    for (let seal = 0; seal < 2; seal++) {
      for (let i = 0; i < 3 + next() * 6; i++) {
        const id = `r${Math.floor(next() * 4)}`
        const image = next() < 0.2 ? null : recordImage({ id, value: Math.floor(next() * 1e6) })
        await database.write({ kind: 'record', resource: 'r', id }, image)
      }
      await database.write({ kind: 'record', resource: 'r', id: 'always' }, recordImage({ seal, opening, n: next() }))
      await tidemark.flush()
      noted.push(formatHead(await tidemark.head()))
    }
    await tidemark.close()
  }
  return noted
}

async function damageOf(directory: string, head?: string): Promise<readonly { readonly key: string }[]> {
  const tidemark = await Tidemark.open({ store: `file:${directory}/store` })
  try {
    return (await tidemark.verify(head === undefined ? {} : { head })).damage
  } finally {
    await tidemark.close()
  }
}

async function expectClean(directory: string, noted: readonly string[], tally: Tally): Promise<void> {
  for (const head of noted) {
    const damage = await damageOf(directory, head)
    if (damage.length > 0) throw new Error(`a store as it was written is called damaged: ${JSON.stringify(damage)}`)
    tally.add('heads that hold')
  }
}

/** Takes the last generations away, and nothing else: what a copy from yesterday looks like. */
async function rollBack(directory: string, noted: readonly string[], next: () => number, tally: Tally): Promise<void> {
  const store = new FilesystemStore(`${directory}/store`)
  const { timeline } = await TimelineLog.open(store)
  const kept = Math.max(1, timeline.generation - 1 - Math.floor(next() * (timeline.generation - 1)))
  await store.delete(Array.from({ length: timeline.generation - kept }, (_, i) => timelineKey(kept + 1 + i)))
  for (const head of noted) {
    const seen = (await damageOf(directory, head)).length > 0
    if (seen !== Number.parseInt(head, 10) > kept) throw new Error(`rolled back to ${kept}: head ${head} says ${seen}`)
    tally.add(seen ? 'rollbacks seen' : 'heads before a rollback that hold')
  }
}

async function attack(
  directory: string,
  noted: readonly string[],
  next: () => number,
  tally: Tally,
  kind: Attack,
): Promise<void> {
  const rechained = next() < 0.5
  const first = await forge(new FilesystemStore(`${directory}/store`), next, kind, rechained)
  const damage = await damageOf(directory)
  if (!rechained) {
    if (!damage.some(({ key }) => key === first)) {
      throw new Error(`${kind} in ${first} was not named: ${JSON.stringify(damage)}`)
    }
    tally.add(`${kind} seen by the chain`)
    return
  }
  // Whoever made the whole history anew is found out by the last head at least; by all that were noted since.
  if (damage.length > 0) throw new Error(`the enemy of the test is not good enough: ${JSON.stringify(damage)}`)
  if ((await damageOf(directory, noted.at(-1))).length === 0) throw new Error(`${kind} with a new chain was not seen`)
  tally.add(`${kind} with a new chain seen by the head`)
}

/** Writes the store's timeline anew with one segment forged, generation by generation; returns the segment's key. */
async function forge(store: FilesystemStore, next: () => number, kind: Attack, rechained: boolean): Promise<string> {
  const { timeline } = await TimelineLog.open(store)
  const segments = await sealedSegments(store, timeline)
  const victims = segments.filter(({ events }) => events > 2)
  const victim = victims[Math.floor(next() * victims.length)]
  if (victim === undefined) throw new Error('no segment to forge')
  const forged = new Map<string, StreamSegment>()
  const ends = new Map<string, string>()
  for (const entry of segments) {
    const isVictim = entry.key === victim.key
    if (!isVictim && !(rechained && entry.stream === victim.stream)) continue
    const reader = await readerOf(store, entry)
    const list = (await allEvents(reader)).sort((a, b) => a.stamp.sequence - b.stamp.sequence)
    const events = isVictim ? forgeEvents(list, kind, next) : list
    const previous = ends.get(entry.stream) ?? entry.chain.previous
    const { bytes, info } = rechained
      ? encodeSegment(frames(events), { stream: entry.stream, level: 0, previous })
      : withChain(events, entry.stream, reader.chain())
    ends.set(entry.stream, info.chain.value)
    await store.put(entry.key, bytes)
    forged.set(entry.key, {
      ...entry,
      ...info,
      firstSequence: entry.firstSequence,
      lastSequence: info.lastSequence,
      key: entry.key,
    })
  }
  await rewriteGenerations(store, timeline.generation, forged)
  return victim.key
}

function withChain(events: readonly Event[], stream: string, chain: SegmentChain): ReturnType<typeof encodeSegment> {
  const columns = new EventColumns()
  for (const frame of frames(events)) columns.append(stream, frame)
  return encodeColumns(columns, { stream, level: 0 }, chain)
}

async function readerOf(store: FilesystemStore, { key, bytes, footer }: StreamSegment): ReturnType<typeof openSegment> {
  return openSegment({ name: key, bytes, footer, read: (start, end) => store.get(key, { start, end }) })
}

/** Every generation again, each naming the one before it, with the forged segments and the streams' chains following them. */
async function rewriteGenerations(
  store: FilesystemStore,
  last: number,
  forged: ReadonlyMap<string, StreamSegment>,
): Promise<void> {
  const nodes = catalogueNodes(store)
  let previous: string | null = null
  for (let generation = 1; generation <= last; generation++) {
    const { timeline } = await readHead(store, generation, nodes)
    const original = await sealedSegments(store, timeline)
    const streams = timeline.streams.map((stream): StreamEntry => {
      const end = original.find((entry) => entry.stream === stream.id && entry.lastSequence === stream.lastSequence)
      const entry = end === undefined ? undefined : forged.get(end.key)
      return entry === undefined ? stream : { ...stream, chain: entry.chain.value, lastUlid: entry.lastUlid }
    })
    const tail = original.map((entry) => forged.get(entry.key) ?? entry)
    const next: Timeline = { ...timeline, streams, segments: { nodes: [], tail } }
    const made = await madeGeneration(next, { ledger: EMPTY_LEDGER, sha256: previous }, nodes)
    for (const { key, bytes } of made.files) await store.put(key, bytes)
    await store.put(timelineKey(generation), made.bytes)
    previous = sha256(made.bytes)
  }
}

/** Events with the same first and last sequence, so that nothing but the chain can tell. */
function forgeEvents(events: readonly Event[], kind: Attack, next: () => number): Event[] {
  const at = 1 + Math.floor(next() * (events.length - 2))
  const list = [...events]
  const [victim, neighbour] = [list[at], list[at - 1]]
  if (victim === undefined || neighbour === undefined) throw new Error('too few events')
  const evil = { actor: 'evil', transaction: null, metadata: null }
  if (kind === 'change') list[at] = { ...victim, context: evil }
  if (kind === 'swap') {
    list[at] = { ...neighbour, stamp: victim.stamp }
    list[at - 1] = { ...victim, stamp: neighbour.stamp }
  }
  if (kind === 'renumber') list[at] = { ...victim, stamp: { ...victim.stamp, ulid: between(neighbour.stamp.ulid) } }
  // One taken away or put in, and a neighbour doubled or dropped so that the numbers still fit.
  if (kind === 'remove') list[at] = { ...neighbour, stamp: victim.stamp }
  if (kind === 'insert') list[at] = { ...victim, context: evil, id: `${victim.id}-forged`, stamp: victim.stamp }
  return list
}

/** A ULID just after another. */
function between(ulid: string): string {
  return `${ulid.slice(0, -1)}${ulid.endsWith('Z') ? 'Y' : 'Z'}`
}
