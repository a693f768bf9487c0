import { parseSegmentKey, prefixOfSnapshotKey, SEGMENT_PREFIX, SNAPSHOT_PREFIX } from '../../format/keys.ts'
import { isPause } from '../../model/hold.ts'
import type { Condemned } from '../../model/pruned.ts'
import type { Timeline } from '../../model/timeline.ts'
import { newUlid } from '../../model/ulid.ts'
import { namedKeys } from '../named-keys.ts'
import { replacedLists } from '../replaced-files.ts'
import type { PruneSeams } from './prune.ts'

/** Files and snapshots that one commit condemns: what that writes is bounded. */
const CONDEMNED_AT_ONCE = 150

/**
 * Condemns files that nothing names, and that nobody can come to name: an attempt to write them was broken off. Their age
 * counts from then, whatever the store says of them; who was about to name one is refused by its commit from now on. Returns
 * how many files and snapshots that are. Errors: those of the store.
 */
export async function condemnLeftovers({ store, timeline, clock }: PruneSeams): Promise<number> {
  const stored = new Map<string, number>()
  for (const prefix of [SEGMENT_PREFIX, SNAPSHOT_PREFIX]) {
    for await (const { key, bytes } of store.list(prefix)) {
      const owner = prefixOfSnapshotKey(key) ?? key
      stored.set(owner, (stored.get(owner) ?? 0) + bytes)
    }
  }
  const replaced = new Set<string>()
  for await (const { keys } of replacedLists(store)) for (const key of keys) replaced.add(key)
  // The timeline is newer than the listing: what it does not name, nobody has named since.
  await timeline.refresh()
  let found = 0
  for (let some = CONDEMNED_AT_ONCE; some === CONDEMNED_AT_ONCE; found += some)
    some = await condemnSome({ timeline, clock }, stored, replaced)
  return found
}

async function condemnSome(
  { timeline, clock }: Pick<PruneSeams, 'timeline' | 'clock'>,
  stored: ReadonlyMap<string, number>,
  replaced: ReadonlySet<string>,
): Promise<number> {
  let found = 0
  await timeline.commit(async (now) => {
    // A repair was first: what nothing names now may be all that is left of something.
    if (now.holds?.some(isPause) === true) return null
    const named = await namesOf(now, timeline.nodes.segments)
    const left = [...stored].filter(([key]) => !named.has(key) && !replaced.has(key) && isOver(key, now))
    const at = newUlid(clock.now())
    const condemn = left.slice(0, CONDEMNED_AT_ONCE).map(([key, bytes]): Condemned => ({ key, bytes, at }))
    found = condemn.length
    return found === 0 ? null : { condemn }
  })
  return found
}

async function namesOf(
  { segments, snapshots, condemned = [] }: Timeline,
  nodes: PruneSeams['timeline']['nodes']['segments'],
): Promise<ReadonlySet<string>> {
  const others = [...snapshots.map(({ prefix }) => prefix), ...condemned.map(({ key }) => key)]
  return new Set([...others, ...(await namedKeys(nodes, segments, null))])
}

/** A segment whose sequences are not in the store yet may be committed by its writer, however long ago it was put. */
function isOver(key: string, { streams }: Timeline): boolean {
  const segment = parseSegmentKey(key)
  // What merges leave is theirs: a run says by itself whether it is still being made.
  if (segment === null) return key.startsWith(SNAPSHOT_PREFIX)
  const stream = streams.find(({ id }) => id === segment.stream)
  return stream !== undefined && (stream.state === 'closed' || segment.lastSequence <= stream.lastSequence)
}
