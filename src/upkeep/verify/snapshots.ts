import { MANIFEST_FILE } from '../../format/keys.ts'
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

/** The files of the store and their bytes, by key. */
export type Listing = ReadonlyMap<string, number>

/**
 * Checks every file of every snapshot against the hash that was noted, and that each snapshot is what the one before
 * it and the events since give, which `states` have already: each file is read once, and again only where it differs.
 * Returns the keys of all files that the manifests name.
 */
export async function verifySnapshots(
  inspection: Inspection,
  sources: ReplaySources,
  timeline: Timeline,
  listing: Listing,
  states: KnownStates,
): Promise<ReadonlySet<string>> {
  const named = new Set<string>()
  const pairs: SnapshotPair[] = []
  let before: SnapshotEntry[] = []
  for (const entry of timeline.snapshots) {
    const key = `${entry.prefix}${MANIFEST_FILE}`
    named.add(key)
    let whole = false
    await inspection.guard(key, async () => {
      whole = await readFiles(inspection, sources, entry, listing, { named, states })
    })
    // A baseline that another process was still making then is no beginning for it.
    const previous = before.findLast(({ consistentFrom }) => consistentFrom <= entry.ulid)
    if (whole && previous !== undefined) {
      await inspection.guard(key, async () => {
        if (await areComparable(inspection, sources, timeline, { previous, entry })) pairs.push({ previous, entry })
      })
    }
    // Only what is whole itself can say anything about the next one.
    before = whole ? [...before, entry] : []
  }
  for (const pair of await states.differing(pairs)) {
    const key = `${pair.entry.prefix}${MANIFEST_FILE}`
    await inspection.guard(key, () => nameDifference(sources, timeline, pair))
  }
  return named
}

/** What is gathered on the way. */
interface Gathered {
  readonly named: Set<string>
  readonly states: KnownStates
}

/** Reads every file of a snapshot; false where one is damaged. */
async function readFiles(
  inspection: Inspection,
  { store }: ReplaySources,
  entry: SnapshotEntry,
  listing: Listing,
  { named, states }: Gathered,
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
    const isIntact = await inspection.guard(name, async () => {
      await hashed.begin(name, file, listing.get(name))
      while (await addNext(states, entry, lines));
      await hashed.end(inspection, name, file)
    })
    intact = isIntact && intact
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
  inspection: Inspection,
  { nodes }: ReplaySources,
  timeline: Timeline,
  { previous, entry }: SnapshotPair,
): Promise<boolean> {
  if (entry.consistentFrom !== entry.ulid || isCutOff(timeline.pruned, previous, entry.ulid)) return false
  const touching = exceptionsOf(timeline, previous, entry.ulid)
  // What was lost after the snapshot was made is in it, and in no replay: there is nothing to compare it with.
  if (touching.some((gap) => entry.except?.some((known) => isSameGap(known, gap)) !== true)) return false
  const { segments } = await planRestore(nodes, { ...timeline, snapshots: [previous] }, entry.ulid)
  return !segments.some(({ key }) => inspection.isDamaged(key))
}

/** What is known of a difference is a hash: both are read again, to name the first item that differs. */
async function nameDifference(
  sources: ReplaySources,
  timeline: Timeline,
  { previous, entry }: SnapshotPair,
): Promise<void> {
  const plan = await planRestore(sources.nodes, { ...timeline, snapshots: [previous] }, entry.ulid)
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
