import { parseStoreLogKey } from '../capture/store-log.ts'
import {
  MANIFEST_FILE,
  parseDrillKey,
  parseSlotKey,
  parseTimelineKey,
  STORE_FILE,
  timelineKey,
} from '../format/keys.ts'
import { chainStart } from '../format/segment/chain.ts'
import type { Head } from '../model/head.ts'
import type { SegmentEntry, Timeline } from '../model/timeline.ts'
import { gapError, gapsOf, isAcknowledged } from '../restore/gaps.ts'
import type { ReplaySources } from '../restore/replay.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { checkHead } from './head.ts'
import { checkEvents, wrongContent } from './segment-check.ts'
import { verifyFrames } from './verify/frames.ts'
import { verifyGenerations } from './verify/generations.ts'
import { openHashed } from './verify/hashed-segment.ts'
import { type Damage, Inspection, MOST_NAMED, type OnDamage, type OnFile } from './verify/inspection.ts'
import { KnownStates } from './verify/known-states.ts'
import { isRemains } from './verify/remains.ts'
import { verifySmallFiles } from './verify/small-files.ts'
import { verifySnapshots } from './verify/snapshots.ts'

/** What a verification read and found. */
export interface Verification {
  readonly files: number
  readonly bytes: number
  readonly events: number
  readonly snapshots: number
  /** The first 1,000; `VerifyOptions.onDamage` is told of each. */
  readonly damage: readonly Damage[]
  /** How many there are. */
  readonly damaged: number
  /**
   * Files that nothing names: left by an attempt that failed; harmless, as those from before an erasure are damage. The first
   * 1,000; `VerifyOptions.onUnreferenced` is told of each.
   */
  readonly unreferenced: readonly string[]
  /** How many there are. */
  readonly unnamed: number
}

/** Who hears of what is found, as it is found. */
export interface Listeners {
  readonly onFile: OnFile
  readonly onDamage: OnDamage
  /** Called with the key of a file that nothing names. */
  readonly onUnreferenced: (key: string) => Promise<void> | void
}

/**
 * Reads and hashes every file of the store once, checks that every sequence is gapless, and that every snapshot is what
 * the one before it and the events since give; and, with a head that was `noted`, that the history goes on from it.
 * Nothing is changed. Damage is collected, not thrown.
 */
export async function verifyStore(
  sources: ReplaySources,
  timeline: Timeline,
  { onFile, onDamage, onUnreferenced }: Listeners = NOBODY,
  noted: Head | null = null,
): Promise<Verification> {
  const { store } = sources
  const inspection = new Inspection(store, onFile, onDamage)
  const listing = new Map<string, number>()
  for await (const { key, bytes } of store.list('')) listing.set(key, bytes)
  await verifySmallFiles(inspection, listing.keys())
  await verifyGenerations(inspection, listing.keys(), timeline, (key) => store.get(key))
  if (noted !== null) {
    await inspection.guard(timelineKey(noted.generation), () => checkHead(store, timeline, noted))
  }
  const states = statesOf(sources, timeline)
  let events = 0
  for (const segment of timeline.segments) {
    await inspection.guard(segment.key, async () => {
      events += await verifySegment(inspection, sources, segment, states)
    })
  }
  verifyChains(inspection, timeline)
  await verifyFrames(inspection, listing.keys(), store)
  for (const gap of gapsOf(timeline)) if (!isAcknowledged(gap)) inspection.found(`stream ${gap.stream}`, gapError(gap))
  const named = await verifySnapshots(inspection, sources, timeline, listing, states)
  const unreferenced: string[] = []
  let unnamed = 0
  for (const key of unreferencedOf(listing.keys(), timeline, named, inspection)) {
    if (isRemains(inspection, timeline, key)) continue
    if (unnamed++ < MOST_NAMED) unreferenced.push(key)
    await onUnreferenced(key)
  }
  await inspection.told()
  const { files, bytes, damage, damaged } = inspection
  return { files, bytes, events, snapshots: timeline.snapshots.length, damage, damaged, unreferenced, unnamed }
}

/** A verification with what was found besides, in front. */
export function withDamage(found: readonly Damage[], count: number, verification: Verification): Verification {
  const damage = [...found, ...verification.damage].slice(0, MOST_NAMED)
  return { ...verification, damage, damaged: verification.damaged + count }
}

/** Nobody. */
export const NOBODY: Listeners = { onFile: () => {}, onDamage: () => {}, onUnreferenced: () => {} }

function statesOf({ memory, scratch }: ReplaySources, { snapshots, segments }: Timeline): KnownStates {
  const records = snapshots.reduce((sum, one) => sum + one.records, 0)
  const rows = segments.reduce((sum, { events }) => sum + events, records)
  let space: ObjectStore | null = null
  const oneSpace = (): ObjectStore => {
    space ??= scratch()
    return space
  }
  return new KnownStates(snapshots, rows, memory, oneSpace)
}

/** Returns how many events it holds. */
async function verifySegment(
  inspection: Inspection,
  { store }: ReplaySources,
  entry: SegmentEntry,
  states: KnownStates,
): Promise<number> {
  const { reader, end } = await openHashed(inspection, store, entry)
  const events = await checkEvents(reader, entry, (event) => states.addEvent(event, event.stamp.ulid, event.after))
  await end()
  return events
}

/** That the segments of each stream follow one another in its hash chain, up to where the timeline says it is. */
function verifyChains(inspection: Inspection, { streams, segments }: Timeline): void {
  for (const stream of streams) {
    let expected: { readonly value: string; readonly sequence: number } = { value: chainStart(stream.id), sequence: 0 }
    const own = segments.filter((segment) => segment.stream === stream.id)
    for (const { key, chain, firstSequence, lastSequence } of own.toSorted(bySequence)) {
      // Behind a missing segment the chain goes on with what nobody can check: the gap is told as such.
      const follows = firstSequence === expected.sequence + 1
      if (follows && chain.previous !== expected.value)
        inspection.found(key, wrongContent(key, 'its events do not follow those before them in the hash chain'))
      expected = { value: chain.value, sequence: lastSequence }
    }
    // Where segments are missing at the end, the gap is told instead.
    if (expected.sequence === stream.lastSequence && expected.value !== stream.chain) {
      const name = `stream ${stream.id}`
      inspection.found(name, wrongContent(name, 'its hash chain ends elsewhere than the timeline says'))
    }
  }
}

function bySequence(a: SegmentEntry, b: SegmentEntry): number {
  return a.firstSequence - b.firstSequence
}

/** What nothing names: the timeline, a manifest that it names, or, for files that stand for themselves, their key. */
function* unreferencedOf(
  keys: Iterable<string>,
  { segments, snapshots, streams }: Timeline,
  ofSnapshots: ReadonlySet<string>,
  inspection: Inspection,
): Generator<string> {
  const named = new Set([STORE_FILE, ...ofSnapshots, ...segments.map(({ key }) => key)])
  const journals = new Set(streams.map(({ id }) => id))
  // Of a snapshot whose manifest is damaged, nobody can say which files are its own.
  const unknown = snapshots.map(({ prefix }) => prefix).filter((prefix) => inspection.isDamaged(prefix + MANIFEST_FILE))
  for (const key of keys) {
    const isNamed =
      named.has(key) ||
      parseTimelineKey(key) !== null ||
      parseSlotKey(key) !== null ||
      parseDrillKey(key) !== null ||
      journals.has(parseStoreLogKey(key)?.stream ?? '') ||
      unknown.some((prefix) => key.startsWith(prefix))
    if (!isNamed) yield key
  }
}
