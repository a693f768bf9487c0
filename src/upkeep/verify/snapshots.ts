import { MANIFEST_FILE } from '../../format/keys.ts'
import { rewritings } from '../../model/erasure.ts'
import { isSameGap } from '../../model/gap.ts'
import type { SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { compareStates } from '../../restore/difference.ts'
import { exceptionsOf } from '../../restore/gaps.ts'
import { planRestore } from '../../restore/plan.ts'
import { isCutOff } from '../../restore/pruned.ts'
import { type ReplaySources, replayStored } from '../../restore/replay.ts'
import { type SnapshotLines, SnapshotReader } from '../../restore/snapshot-reader.ts'
import type { ItemState } from '../../restore/target.ts'
import { wrongContent } from '../segment-check.ts'
import { HashedFiles } from './hashed-files.ts'
import type { Inspection } from './inspection.ts'
import type { KnownStates, SnapshotPair } from './known-states.ts'
import { type Present, unlessGone } from './present.ts'

/** The files of the store and their bytes, by key. */
export type Listing = ReadonlyMap<string, number>

/**
 * Checks every file of every snapshot against the hash that was noted, and that each snapshot is what the one before
 * it and the events since give, which `states` have already: each file is read once, and again only where it differs.
 * Returns the keys of all files that the manifests name.
 */
export async function verifySnapshots(
  seams: SnapshotCheckSeams,
  timeline: Timeline,
  listing: Listing,
  states: KnownStates,
): Promise<ReadonlySet<string>> {
  const { inspection, sources, present } = seams
  const named = new Set<string>()
  const pairs: SnapshotPair[] = []
  let before: SnapshotEntry[] = []
  for (const entry of timeline.snapshots) {
    const key = `${entry.prefix}${MANIFEST_FILE}`
    named.add(key)
    let whole = false
    await inspection.guard(key, async () => {
      const read = readFiles(inspection, sources, entry, listing, { named, states, present })
      whole = (await unlessGone(read, () => present.needsSnapshot(entry.prefix))) ?? false
    })
    // A baseline that another process was still making then is no beginning for it.
    const previous = before.findLast(({ consistentFrom }) => consistentFrom <= entry.ulid)
    if (whole && previous !== undefined) {
      await inspection.guard(key, async () => {
        if (await areComparable(seams, timeline, { previous, entry })) pairs.push({ previous, entry })
      })
    }
    // Only what is whole itself can say anything about the next one.
    before = whole ? [...before, entry] : []
  }
  for (const pair of await states.differing(pairs)) {
    const key = `${pair.entry.prefix}${MANIFEST_FILE}`
    await inspection.guard(key, () => nameDifference(seams, timeline, pair))
  }
  return named
}

/** What snapshots are verified with. */
export interface SnapshotCheckSeams {
  readonly inspection: Inspection
  readonly sources: ReplaySources
  readonly present: Present
}

/** What is gathered on the way. */
interface Gathered {
  readonly present: Present
  readonly named: Set<string>
  readonly states: KnownStates
}

/** Reads every file of a snapshot; false where one is damaged. */
async function readFiles(
  inspection: Inspection,
  { store }: ReplaySources,
  entry: SnapshotEntry,
  listing: Listing,
  { named, states, present }: Gathered,
): Promise<boolean> {
  const { prefix, manifestSha256 } = entry
  const manifest = await inspection.read(`${prefix}${MANIFEST_FILE}`)
  const hashed = new HashedFiles(store)
  const snapshot = SnapshotReader.of(hashed.store, prefix, manifest, manifestSha256)
  for (const batch of snapshot.schemas()) await addStates(states, entry, batch)
  let intact = true
  for (const { file, lines } of snapshot.files()) {
    const name = `${prefix}${file.file}`
    named.add(name)
    const read = async (): Promise<true> => {
      await hashed.begin(name, file, listing.get(name))
      while (await addNext(states, entry, lines));
      await hashed.end(inspection, name, file)
      return true
    }
    const isSound = await inspection.guard(name, async () => {
      const isRead = await unlessGone(read(), () => present.needsSnapshot(prefix))
      if (isRead === null) intact = false
    })
    intact = isSound && intact
  }
  return intact
}

/** By itself, so that nothing of a batch is left in memory when the next one is read. False at the end. */
async function addNext(
  states: KnownStates,
  entry: SnapshotEntry,
  lines: AsyncGenerator<SnapshotLines>,
): Promise<boolean> {
  const { done, value } = await lines.next()
  if (done !== true) await addStates(states, entry, value)
  return done !== true
}

/** Also where nothing is compared: images are decoded where somebody looks, and a line may be damaged in its raw part. */
async function addStates(
  states: KnownStates,
  entry: SnapshotEntry,
  { kind, resource, lines }: SnapshotLines,
): Promise<void> {
  for (const line of lines) {
    const id = Buffer.from(line.id).toString('utf8')
    await states.addState({ kind, resource, id }, entry, line.image())
  }
}

/** A snapshot that was read from the live database has no history before it that could be compared. */
async function areComparable(
  { inspection, sources, present }: SnapshotCheckSeams,
  timeline: Timeline,
  { previous, entry }: SnapshotPair,
): Promise<boolean> {
  const { pruned } = present.timeline
  if (entry.consistentFrom !== entry.ulid || isCutOff(pruned, previous, entry.ulid)) return false
  // Events that were read in the place of others lack what was erased meanwhile, and these snapshots do not.
  if (rewritings(present.timeline) !== rewritings(timeline)) return false
  const touching = exceptionsOf(timeline, previous, entry.ulid)
  // What was lost after the snapshot was made is in it, and in no replay: there is nothing to compare it with.
  if (touching.some((gap) => entry.except?.some((known) => isSameGap(known, gap)) !== true)) return false
  if (inspection.damaged === 0) return true
  const { segments } = await planRestore(sources.nodes, between(timeline, previous, present), entry.ulid)
  return !segments.some(({ key }) => inspection.isDamaged(key))
}

/** The timeline with one snapshot, and the events as they can be read by now. */
function between(timeline: Timeline, previous: SnapshotEntry, { timeline: { segments } }: Present): Timeline {
  return { ...timeline, segments, snapshots: [previous] }
}

/** What is known of a difference is a hash: both are read again, to name the first item that differs. */
async function nameDifference(
  { sources, present }: SnapshotCheckSeams,
  timeline: Timeline,
  { previous, entry }: SnapshotPair,
): Promise<void> {
  const plan = await planRestore(sources.nodes, between(timeline, previous, present), entry.ulid)
  const snapshot = await sources.snapshots.open(entry)
  for await (const { differences } of compareStates(statesOf(snapshot), replayStored(sources, plan, {}))) {
    const [first] = differences
    if (first === undefined) continue
    throw wrongContent(
      `${entry.prefix}${MANIFEST_FILE}`,
      `${first.resource}/${first.id} is not what the snapshot before it and the events since give`,
    )
  }
}

async function* statesOf(snapshot: SnapshotReader): AsyncGenerator<readonly ItemState[]> {
  for await (const { kind, resource, lines } of snapshot.lines({})) {
    yield Array.from(lines, (line) => ({
      kind,
      resource,
      id: Buffer.from(line.id).toString('utf8'),
      image: line.image(),
    }))
  }
}
