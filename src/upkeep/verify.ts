import { sha256 } from '../base/bytes.ts'
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
import { openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { Head } from '../model/head.ts'
import type { SegmentEntry, Timeline } from '../model/timeline.ts'
import { gapError, gapsOf, isAcknowledged } from '../restore/gaps.ts'
import type { ReplaySources } from '../restore/replay.ts'
import { checkHead } from './head.ts'
import { checkedEvents, wrongContent } from './segment-check.ts'
import { verifyFrames } from './verify/frames.ts'
import { verifyGenerations } from './verify/generations.ts'
import { type Damage, Inspection, type OnFile, wrongHash } from './verify/inspection.ts'
import { verifyRemains } from './verify/remains.ts'
import { verifySmallFiles } from './verify/small-files.ts'
import { verifySnapshots } from './verify/snapshots.ts'

/** What a verification read and found. */
export interface Verification {
  readonly files: number
  readonly bytes: number
  readonly events: number
  readonly snapshots: number
  readonly damage: readonly Damage[]
  /** Files that nothing names: left by an attempt that failed; harmless, as those from before an erasure are damage. */
  readonly unreferenced: readonly string[]
}

/** Segments up to this size are checked in memory; of a larger one a part at a time is there, which takes a second reading. */
const WHOLE_BYTES = 16 * 1024 * 1024

/**
 * Reads and hashes every file of the store, checks that every sequence is gapless, and that every snapshot is what
 * the one before it and the events since give; and, with a head that was `noted`, that the history goes on from it.
 * Nothing is changed. Damage is collected, not thrown.
 */
export async function verifyStore(
  sources: ReplaySources,
  timeline: Timeline,
  onFile: OnFile,
  noted: Head | null = null,
): Promise<Verification> {
  const { store } = sources
  const inspection = new Inspection(store, onFile)
  const listing = new Map<string, number>()
  for await (const { key, bytes } of store.list('')) listing.set(key, bytes)
  await verifySmallFiles(inspection, listing.keys())
  await verifyGenerations(inspection, listing.keys(), timeline, (key) => store.get(key))
  if (noted !== null) {
    await inspection.guard(timelineKey(noted.generation), () => checkHead(store, timeline, noted))
  }
  let events = 0
  for (const segment of timeline.segments) {
    await inspection.guard(segment.key, async () => {
      events += await verifySegment(inspection, sources, segment)
    })
  }
  verifyChains(inspection, timeline)
  await verifyFrames(inspection, listing.keys(), store)
  for (const gap of gapsOf(timeline)) if (!isAcknowledged(gap)) inspection.found(`stream ${gap.stream}`, gapError(gap))
  const named = await verifySnapshots(inspection, sources, timeline, listing)
  const unnamed = unreferencedOf(listing.keys(), timeline, named, inspection)
  const unreferenced = verifyRemains(inspection, timeline, unnamed)
  const { files, bytes, damage } = inspection
  return { files, bytes, events, snapshots: timeline.snapshots.length, damage, unreferenced }
}

/** Returns how many events it holds. */
async function verifySegment(inspection: Inspection, sources: ReplaySources, entry: SegmentEntry): Promise<number> {
  let events = 0
  for await (const _ of checkedEvents(await openHashed(inspection, sources, entry), entry)) events++
  return events
}

/** Opens a segment whose SHA-256 is right; reads it once where it is not too large to be kept. */
async function openHashed(
  inspection: Inspection,
  { segments }: ReplaySources,
  entry: SegmentEntry,
): Promise<SegmentReader> {
  const { key, footer } = entry
  if (entry.bytes > WHOLE_BYTES) {
    await inspection.expectHash(key, undefined, entry.sha256)
    return segments.open(entry)
  }
  const whole = await inspection.read(key)
  if (sha256(whole) !== entry.sha256) throw wrongHash(key)
  return openSegment({ name: key, bytes: entry.bytes, footer, read: async (start, end) => whole.subarray(start, end) })
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
function unreferencedOf(
  keys: Iterable<string>,
  { segments, snapshots, streams }: Timeline,
  ofSnapshots: ReadonlySet<string>,
  inspection: Inspection,
): string[] {
  const named = new Set([STORE_FILE, ...ofSnapshots, ...segments.map(({ key }) => key)])
  const journals = new Set(streams.map(({ id }) => id))
  // Of a snapshot whose manifest is damaged, nobody can say which files are its own.
  const unknown = snapshots.map(({ prefix }) => prefix).filter((prefix) => inspection.isDamaged(prefix + MANIFEST_FILE))
  const isNamed = (key: string): boolean =>
    named.has(key) ||
    parseTimelineKey(key) !== null ||
    parseSlotKey(key) !== null ||
    parseDrillKey(key) !== null ||
    journals.has(parseStoreLogKey(key)?.stream ?? '') ||
    unknown.some((prefix) => key.startsWith(prefix))
  return [...keys].filter((key) => !isNamed(key))
}
