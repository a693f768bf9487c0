import { parseStoreLogKey } from '../capture/store-log.ts'
import {
  MANIFEST_FILE,
  parseDrillKey,
  parseLeaseKey,
  parseMergingKey,
  parseReplacedKey,
  parseRunFileKey,
  parseSlotKey,
  parseTimelineKey,
  prefixOfSnapshotKey,
  STORE_FILE,
  timelineKey,
} from '../format/keys.ts'
import type { Event } from '../model/event.ts'
import type { Head } from '../model/head.ts'
import { totalsOf } from '../model/segment-index.ts'
import type { SegmentEntry, Timeline } from '../model/timeline.ts'
import { gapError, gapsOf, isAcknowledged } from '../restore/gaps.ts'
import type { ReplaySources } from '../restore/replay.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { lastForgotten } from '../timeline/head.ts'
import { segmentNodes } from '../timeline/segments.ts'
import { checkHead } from './head.ts'
import { SegmentParts } from './run-chains.ts'
import { checkEvents } from './segment-check.ts'
import { ChainEnds } from './verify/chain-ends.ts'
import { verifyFrames } from './verify/frames.ts'
import { verifyGenerations } from './verify/generations.ts'
import { openHashed } from './verify/hashed-segment.ts'
import { type Damage, Inspection, MOST_NAMED, type OnDamage, type OnFile } from './verify/inspection.ts'
import { KnownStates } from './verify/known-states.ts'
import { verifyNodes } from './verify/nodes.ts'
import { Present } from './verify/present.ts'
import { isRemains, type Origins } from './verify/remains.ts'
import { RunChecks } from './verify/runs.ts'
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
  const listing = new Map<string, number>()
  for await (const { key, bytes } of store.list('')) listing.set(key, bytes)
  const inspection = new Inspection(store, onFile, onDamage, listing)
  const replaced = await verifySmallFiles(inspection, listing.keys())
  const present = new Present(store, timeline)
  const forgottenNow = async (): Promise<number> => lastForgotten((await present.refresh()) ?? timeline)
  const root = await verifyGenerations(inspection, listing.keys(), timeline, forgottenNow)
  const nodes = segmentNodes({ get: (key) => inspection.read(key) })
  const counted: ReplaySources = { ...sources, nodes }
  if (noted !== null) {
    await inspection.guard(timelineKey(noted.generation), () => checkHead(store, timeline, noted))
  }
  const states = statesOf(sources, timeline)
  let events = 0
  const chains = new ChainEnds(inspection, timeline)
  const runs = new RunChecks(inspection, chains)
  const catalogue = await verifyNodes({ inspection, nodes, present }, timeline, root, {
    check: async (segment) => {
      if (!('run' in segment)) chains.add(segment.key, segment)
      events += await verifySegment(inspection, sources, segment, { states, runs })
    },
    checkRun: (segment, file) => runs.begin(segment, file),
    onUnread: (segment) => {
      if ('run' in segment) runs.fail(segment)
    },
  })
  runs.end(catalogue.isWhole)
  chains.end(catalogue.isWhole)
  await verifyFrames(inspection, listing.keys(), store)
  for (const gap of gapsOf(timeline)) if (!isAcknowledged(gap)) inspection.found(`stream ${gap.stream}`, gapError(gap))
  const ofSnapshots = await verifySnapshots({ inspection, sources: counted, present }, timeline, listing, states)
  const heads = new Set((timeline.forgotten ?? []).map(({ key }) => key))
  const isNamed = (key: string): boolean =>
    key === STORE_FILE || heads.has(key) || ofSnapshots.has(key) || catalogue.isNamed(key)
  const parts = new SegmentParts(store)
  const chainKeys = [...listing.keys()].filter((key) => parseRunFileKey(key)?.file === 'chain')
  const { segments } = present.timeline
  const origins: Origins = { timeline: { ...timeline, segments }, nodes, parts, replaced, chainKeys, isNamed }
  const unreferenced: string[] = []
  let unnamed = 0
  // Where a part of the catalogue cannot be read, nobody can say what it names.
  const keys = catalogue.isWhole ? listing.keys() : []
  for (const key of unreferencedOf(keys, timeline, isNamed, inspection)) {
    if ((await isRemains(inspection, key, origins)) || replaced.has(key)) continue
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
  const rows = records + totalsOf(segments).events
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
  { states, runs }: { readonly states: KnownStates; readonly runs: RunChecks },
): Promise<number> {
  const { reader, end } = await openHashed(inspection, store, entry)
  const onEvent = (event: Event): Promise<void> => states.addEvent(event, event.stamp.ulid, event.after)
  if ('run' in entry) await runs.add(reader, entry, onEvent)
  else await checkEvents(reader, entry, onEvent)
  await end()
  return entry.events
}

/** What nothing names: the timeline, a manifest that it names, or, for files that stand for themselves, their key. */
function* unreferencedOf(
  keys: Iterable<string>,
  { snapshots, streams, condemned = [] }: Timeline,
  isNamed: (key: string) => boolean,
  inspection: Inspection,
): Generator<string> {
  const journals = new Set(streams.map(({ id }) => id))
  const going = new Set(condemned.map(({ key }) => key))
  // Of a snapshot whose manifest is damaged, nobody can say which files are its own.
  const unknown = snapshots.map(({ prefix }) => prefix).filter((prefix) => inspection.isDamaged(prefix + MANIFEST_FILE))
  for (const key of keys) {
    const isKnown =
      isNamed(key) ||
      parseTimelineKey(key) !== null ||
      parseSlotKey(key) !== null ||
      parseDrillKey(key) !== null ||
      parseReplacedKey(key) !== null ||
      parseLeaseKey(key) !== null ||
      parseMergingKey(key) !== null ||
      journals.has(parseStoreLogKey(key)?.stream ?? '') ||
      going.has(prefixOfSnapshotKey(key) ?? key) ||
      unknown.some((prefix) => key.startsWith(prefix))
    if (!isKnown) yield key
  }
}
