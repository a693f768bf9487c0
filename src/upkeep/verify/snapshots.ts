import { MANIFEST_FILE } from '../../format/keys.ts'
import type { SnapshotFile } from '../../format/manifest.ts'
import type { Image } from '../../model/event.ts'
import { isSameGap } from '../../model/gap.ts'
import type { SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { compareStates } from '../../restore/difference.ts'
import { exceptionsOf } from '../../restore/gaps.ts'
import { planRestore } from '../../restore/plan.ts'
import { type ReplaySources, replayStored } from '../../restore/replay.ts'
import { SnapshotReader } from '../../restore/snapshot-reader.ts'
import type { ItemState } from '../../restore/target.ts'
import { wrongContent } from '../segment-check.ts'
import type { Inspection } from './inspection.ts'

/** The files of the store and their bytes, by key. */
export type Listing = ReadonlyMap<string, number>

/**
 * Checks every file of every snapshot against the hash that was noted, and that each snapshot is what the one before
 * it and the events since give. Returns the keys of all files that the manifests name.
 */
export async function verifySnapshots(
  inspection: Inspection,
  sources: ReplaySources,
  timeline: Timeline,
  listing: Listing,
): Promise<ReadonlySet<string>> {
  const named = new Set<string>()
  let before: SnapshotEntry[] = []
  for (const entry of timeline.snapshots) {
    const key = `${entry.prefix}${MANIFEST_FILE}`
    named.add(key)
    let whole = false
    await inspection.guard(key, async () => {
      const snapshot = await openFiles(inspection, sources, entry, listing, named)
      if (snapshot === null) return
      for await (const batch of snapshot.lines({})) for (const line of batch.lines) decodeWhole(line.image())
      whole = true
      // A baseline that another process was still making then is no beginning for it.
      const previous = before.findLast(({ consistentFrom }) => consistentFrom <= entry.ulid)
      if (previous !== undefined) await verifyAgainst(inspection, sources, timeline, previous, entry, snapshot)
    })
    // Only what is whole itself can say anything about the next one.
    before = whole ? [...before, entry] : []
  }
  return named
}

/** The snapshot, where each of its files has its hash; null where one has not. */
async function openFiles(
  inspection: Inspection,
  sources: ReplaySources,
  entry: SnapshotEntry,
  listing: Listing,
  named: Set<string>,
): Promise<SnapshotReader | null> {
  const { prefix, manifestSha256 } = entry
  const manifest = await inspection.read(`${prefix}${MANIFEST_FILE}`)
  const snapshot = SnapshotReader.of(sources.store, prefix, manifest, manifestSha256)
  const { objects, resources } = snapshot.manifest
  const files = [objects, ...resources.flatMap((resource) => [resource.objects, resource.records])]
  const present = files.filter((file): file is SnapshotFile => file !== null)
  let intact = true
  for (const { file, sha256 } of present) {
    const name = `${entry.prefix}${file}`
    named.add(name)
    intact = (await inspection.guard(name, () => inspection.expectHash(name, listing.get(name), sha256))) && intact
  }
  return intact ? snapshot : null
}

/** A snapshot that was read from the live database has no history before it that could be compared. */
async function verifyAgainst(
  inspection: Inspection,
  sources: ReplaySources,
  timeline: Timeline,
  previous: SnapshotEntry,
  entry: SnapshotEntry,
  snapshot: SnapshotReader,
): Promise<void> {
  if (entry.consistentFrom !== entry.ulid) return
  const touching = exceptionsOf(timeline, previous, entry.ulid)
  // What was lost after the snapshot was made is in it, and in no replay: there is nothing to compare it with.
  if (touching.some((gap) => entry.except?.some((known) => isSameGap(known, gap)) !== true)) return
  const plan = planRestore({ ...timeline, snapshots: [previous] }, entry.ulid)
  if (plan.segments.some(({ key }) => inspection.isDamaged(key))) return
  for await (const { differences } of compareStates(statesOf(snapshot), replayStored(sources, plan, {}))) {
    const [first] = differences
    if (first === undefined) continue
    throw wrongContent(
      `${entry.prefix}${MANIFEST_FILE}`,
      `${first.resource}/${first.id} is not what the snapshot before it and the events since give`,
    )
  }
}

/** Images are decoded where somebody looks. Of their JSON a line has the bytes; the raw part is JSON too, or damaged. */
function decodeWhole({ raw }: Image): number {
  return raw?.length ?? 0
}

async function* statesOf(snapshot: SnapshotReader): AsyncGenerator<readonly ItemState[]> {
  for await (const { kind, resource, lines } of snapshot.lines({})) {
    yield lines.map((line) => ({ kind, resource, id: Buffer.from(line.id).toString('utf8'), image: line.image() }))
  }
}
