import { sha256 } from '../../src/base/bytes.ts'
import { timelineKey } from '../../src/format/keys.ts'
import type { SegmentChain } from '../../src/format/segment/chain.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { encodeColumns, encodeSegment } from '../../src/format/segment/encode.ts'
import { openSegment, type SegmentReader } from '../../src/format/segment/read.ts'
import { encodeRunChain, type PartChain } from '../../src/format/segment/run-chain.ts'
import { encodeRunFile } from '../../src/format/segment/run-file.ts'
import type { Event } from '../../src/model/event.ts'
import type { SegmentEntry, SnapshotEntry, StreamEntry, StreamSegment, Timeline } from '../../src/model/timeline.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { catalogueNodes, madeGeneration, readHead } from '../../src/timeline/head.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { readRunChain } from '../../src/upkeep/run-chains.ts'
import { RunItems } from '../../src/upkeep/run-indexes.ts'
import { allSegments } from './catalogue.ts'
import { allEvents, frames } from './segments.ts'

/** Events of one stream that were sealed together, as the chain has them, and where they are by now. */
interface Part extends PartChain {
  readonly entry: SegmentEntry
  /** By sequence. */
  readonly events: readonly Event[]
}

/** What takes the place of what, in every generation that has it. */
interface Forged {
  readonly segments: ReadonlyMap<string, SegmentEntry>
  readonly snapshots: ReadonlyMap<string, SnapshotEntry>
  /** The forged chain at the end of a part. */
  readonly ends: ReadonlyMap<string, Pick<StreamEntry, 'chain' | 'lastUlid'>>
}

/** As `ModelDatabase` says of itself. */
const DATABASE = 'model://test'

const NOTHING: Forged = { segments: new Map(), snapshots: new Map(), ends: new Map() }

/** How events are forged. */
export interface EventForgery {
  readonly change: (events: readonly Event[]) => readonly Event[]
  /** Whether the chain is computed anew, from there on. */
  readonly rechained: boolean
  readonly pick: <T>(from: readonly T[]) => T | undefined
}

/**
 * Forges the events of one part of the history, wherever it is, and makes every hash and generation anew. Returns the key of the
 * file that the chain convicts.
 */
export async function forgeEvents(
  store: ObjectStore,
  { change, rechained, pick }: EventForgery,
): Promise<{ readonly key: string; readonly isMerged: boolean }> {
  const { timeline } = await TimelineLog.open(store)
  const parts = await partsIn(store, timeline)
  const victim = pick(parts.filter(({ events }) => events.length > 2))
  if (victim === undefined) throw new Error('no events to forge')
  const chains = new Map<Part, SegmentChain>(parts.map((part) => [part, part.chain]))
  const events = new Map<Part, readonly Event[]>(parts.map((part) => [part, part.events]))
  events.set(victim, change(victim.events))
  const touched = new Set([victim])
  const ends = new Map<string, Pick<StreamEntry, 'chain' | 'lastUlid'>>()
  let previous: string | null = null
  for (const part of rechained ? parts : []) {
    const isBehind = part.stream === victim.stream && part.firstSequence >= victim.firstSequence
    if (!isBehind) continue
    const list = events.get(part) ?? []
    const made = encodeSegment(frames(list), {
      stream: part.stream,
      level: 0,
      previous: previous ?? part.chain.previous,
    })
    previous = made.info.chain.value
    chains.set(part, (await readerOf(made.info, made.bytes)).chain())
    ends.set(`${part.stream} ${part.lastSequence}`, { chain: previous, lastUlid: made.info.lastUlid })
    touched.add(part)
  }
  const segments = new Map<string, SegmentEntry>()
  for (const files of Map.groupBy(touched, ({ entry }) => entry).keys()) {
    const own = parts.filter(({ entry }) => entry === files)
    segments.set(files.key, await writtenAnew(store, files, own, { chains, events }))
  }
  await rewriteGenerations(store, timeline.generation, { ...NOTHING, segments, ends })
  const { entry } = victim
  return { key: 'run' in entry ? entry.run.key : entry.key, isMerged: 'run' in entry }
}

/** Forges one image of a snapshot that was made from the history, with every hash; null where there is none. */
export async function forgeState(
  store: ObjectStore,
  pick: EventForgery['pick'],
  change: (state: ItemState) => ItemState,
): Promise<SnapshotEntry | null> {
  const { timeline } = await TimelineLog.open(store)
  const victim = pick(timeline.snapshots.filter(({ ulid, consistentFrom }) => ulid === consistentFrom))
  if (victim === undefined) return null
  const snapshot = await new Snapshots(store).open(victim)
  const states: ItemState[] = []
  for await (const { kind, resource, lines } of snapshot.lines({}))
    for (const line of lines)
      states.push({ kind, resource, id: Buffer.from(line.id).toString('utf8'), image: line.image() })
  const chosen = pick(states)
  const { prefix, ulid } = victim
  const writer = new SnapshotWriter({ store, prefix, ulid, database: DATABASE })
  await writer.add(states.map((one) => (one === chosen ? change(one) : one)))
  const forged = { ...victim, ...(await writer.finish()) }
  await rewriteGenerations(store, timeline.generation, { ...NOTHING, snapshots: new Map([[prefix, forged]]) })
  return victim
}

/** Every part that is in the store, by stream and sequence. */
async function partsIn(store: ObjectStore, timeline: Timeline): Promise<readonly Part[]> {
  const parts: Part[] = []
  for (const entry of await allSegments(store, timeline)) {
    const reader = await readerOf(entry, await store.get(entry.key))
    const events = (await allEvents(reader)).sort((a, b) => a.stamp.sequence - b.stamp.sequence)
    const chains = 'run' in entry ? (await readRunChain(store, entry.run)).chains : [partOf(entry, reader.chain())]
    for (const part of chains) {
      const isOwn = ({ stamp }: Event): boolean =>
        stamp.stream === part.stream && stamp.sequence >= part.firstSequence && stamp.sequence <= part.lastSequence
      parts.push({ ...part, entry, events: events.filter(isOwn) })
    }
  }
  return parts.sort((a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : a.firstSequence - b.firstSequence))
}

function partOf(
  { stream, firstSequence, lastSequence, firstUlid, lastUlid }: StreamSegment,
  chain: SegmentChain,
): PartChain {
  return { stream, firstSequence, lastSequence, firstUlid, lastUlid, chain }
}

/** Puts a file with these events and chains under its old key; a run has one file here. */
async function writtenAnew(
  store: ObjectStore,
  entry: SegmentEntry,
  parts: readonly Part[],
  {
    chains,
    events,
  }: { readonly chains: ReadonlyMap<Part, SegmentChain>; readonly events: ReadonlyMap<Part, readonly Event[]> },
): Promise<SegmentEntry> {
  const columns = new EventColumns()
  for (const part of parts) for (const frame of frames(events.get(part) ?? [])) columns.append(part.stream, frame)
  const [first] = parts
  const chain = first === undefined ? undefined : chains.get(first)
  if (first === undefined || chain === undefined) throw new Error(`${entry.key} has no events`)
  if (!('run' in entry)) {
    const { bytes, info } = encodeColumns(columns, { stream: first.stream, level: 0 }, chain)
    await store.put(entry.key, bytes)
    return { ...entry, ...info }
  }
  const { level, run: chainFile } = entry
  const [, run = ''] = chainFile.key.split('/')
  const { erasures } = await readRunChain(store, chainFile)
  const rows = parts.map((part) => ({ ...part, chain: chains.get(part) ?? part.chain }))
  const chainBytes = encodeRunChain({ run, level, erasures, chains: rows })
  const { bytes, info } = encodeRunFile(columns, { run, level, file: 0 })
  await store.put(chainFile.key, chainBytes)
  await store.put(entry.key, bytes)
  const items = new RunItems(run)
  await items.addFile({ ...info, key: entry.key }, bytes)
  const index = items.make(chainFile.index.key)
  await store.put(chainFile.index.key, index.bytes)
  return {
    ...info,
    key: entry.key,
    run: { key: chainFile.key, bytes: chainBytes.length, sha256: sha256(chainBytes), index: index.file },
  }
}

function readerOf(
  { bytes, footer }: Pick<SegmentEntry, 'bytes' | 'footer'>,
  whole: Uint8Array,
): Promise<SegmentReader> {
  const read = async (start: number, end: number): Promise<Uint8Array> => whole.subarray(start, end)
  return openSegment({ name: 'forged', bytes, footer, read })
}

/** Every generation again, each naming the one before it, with what was forged and the streams' chains following it. */
async function rewriteGenerations(store: ObjectStore, last: number, forged: Forged): Promise<void> {
  const nodes = catalogueNodes(store)
  let previous: string | null = null
  for (let generation = 1; generation <= last; generation++) {
    const { timeline } = await readHead(store, generation, nodes)
    const streams = timeline.streams.map((stream): StreamEntry => {
      const end = forged.ends.get(`${stream.id} ${stream.lastSequence}`)
      return end === undefined ? stream : { ...stream, ...end }
    })
    const tail = (await allSegments(store, timeline)).map((entry) => forged.segments.get(entry.key) ?? entry)
    const snapshots = timeline.snapshots.map((one) => forged.snapshots.get(one.prefix) ?? one)
    const next: Timeline = { ...timeline, streams, snapshots, segments: { nodes: [], tail } }
    const made = await madeGeneration(next, { sha256: previous }, nodes)
    for (const { key, bytes } of made.files) await store.put(key, bytes)
    await store.put(timelineKey(generation), made.bytes)
    previous = sha256(made.bytes)
  }
}
