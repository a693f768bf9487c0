import { TidemarkError } from '../../base/errors.ts'
import { isNodeKey, nodeGeneration } from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import { isLedgerEntry } from '../../format/timeline-shape.ts'
import { union, without } from '../../model/interval.ts'
import type { PrunedRange } from '../../model/pruned.ts'
import type { StreamEntry, Timeline } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { type LedgerEntry, type Sections, sectionsOf } from '../../timeline/ledger.ts'
import type { Root } from '../../timeline/root.ts'

/** What a catalogue says that is put together from several generations. */
export interface Recalled {
  /** With the ledger of the last root that is whole, and what others say that it does not. */
  readonly timeline: Timeline
  /** Marks and holds that this root does not say any more, or not yet: nobody knows for certain whether they were removed. */
  readonly marks: NonNullable<Timeline['marks']>
  readonly holds: NonNullable<Timeline['holds']>
  /** Moments that were pruned, as only nodes say that no root names: of an attempt that was lost, or of a root that is. */
  readonly doubtful: readonly PrunedRange[]
}

/** Reads the ledger of a root: all that can be read, and whether that is all; `onNode` is told the key of each node. */
export type ReadSections = (
  root: Root,
  onNode: (key: string) => void,
) => Promise<{ readonly sections: Sections; readonly isWhole: boolean }>

/** What says something of what was promised. */
interface Testimony {
  readonly generation: number
  /** A root was committed; of a node that none names nobody knows. */
  readonly isCommitted: boolean
  readonly sections: Sections
}

const NOTHING: Sections = { epochs: [], streams: [], snapshots: [], losses: [], acknowledgements: [], erasures: [] }

/**
 * Puts together what can still be read of a ledger that was lost in part. `roots` are those that can be read, the latest first. Of
 * these one after the other is read back to the first with a whole ledger: what that does not have was removed before. Then come
 * nodes that none of them names, of later generations. Of what has an identity the newest counts; nothing is removed because a
 * damaged generation lacks it: a hold that was released since is held again, and one that was not is never let go.
 * `timeline` is what the latest root says. Errors: those of the store.
 */
export async function recall(
  store: ObjectStore,
  timeline: Timeline,
  roots: AsyncIterable<Root>,
  read: ReadSections,
  keys: Iterable<string>,
): Promise<Recalled> {
  const named = new Set<string>()
  const sources: Testimony[] = []
  let bound = 0
  for await (const root of roots) {
    const { sections, isWhole } = await read(root, (key) => named.add(key))
    sources.push({ generation: root.generation, isCommitted: true, sections })
    if (!isWhole) continue
    bound = root.generation
    break
  }
  const unnamed = [...keys].filter((key) => isNodeKey(key) && !named.has(key) && (nodeGeneration(key) ?? 0) > bound)
  for (const key of unnamed) {
    const entries = await leafOf(store, key)
    if (entries === null) continue
    const sections = sectionsOf(entries, NOTHING)
    sources.push({ generation: nodeGeneration(key) ?? 0, isCommitted: false, sections })
  }
  return merged(
    timeline,
    sources.sort((a, b) => b.generation - a.generation || Number(b.isCommitted) - Number(a.isCommitted)),
  )
}

/** The entries of a leaf of the ledger; null where it is damaged, or another node. */
async function leafOf(store: ObjectStore, key: string): Promise<readonly LedgerEntry[] | null> {
  try {
    const { format, tree, height, ledger } = unsealJson(await store.get(key)) ?? {}
    const isLeaf = format === 2 && tree === 'ledger' && height === 0 && Array.isArray(ledger)
    return isLeaf && ledger.every((entry): entry is LedgerEntry => isLedgerEntry(entry)) ? ledger : null
  } catch (error) {
    if (error instanceof TidemarkError && (error.category === 'corrupt' || error.code === 'OBJECT_NOT_FOUND'))
      return null
    throw error
  }
}

/** `sources`: the newest first. */
function merged(timeline: Timeline, sources: readonly Testimony[]): Recalled {
  const committed = sources.filter(({ isCommitted }) => isCommitted)
  const all = <T>(from: readonly Testimony[], list: (sections: Sections) => readonly T[] | undefined): readonly T[] =>
    from.flatMap(({ sections }) => list(sections) ?? [])
  const pruned = withRanges(
    timeline.pruned ?? [],
    all(committed, (from) => from.pruned),
  )
  const isGone = (ulid: string): boolean => pruned.some(({ from, through }) => from <= ulid && ulid <= through)
  const marks = added(
    timeline.marks,
    all(sources, (from) => from.marks),
    ({ name }) => name,
  ).filter(({ ulid }) => !isGone(ulid))
  const holds = added(
    timeline.holds,
    all(sources, (from) => from.holds),
    ({ id }) => id,
  ).filter(({ from, through }) => !isGone(from) || !isGone(through))
  const same = (value: object): string => JSON.stringify(value)
  const fresh: Sections = {
    epochs: added(
      timeline.epochs,
      all(committed, (from) => from.epochs),
      ({ epoch }) => `${epoch}`,
    ),
    streams: streamsOf(timeline, sources),
    snapshots: [],
    losses: added(
      timeline.losses,
      all(committed, (from) => from.losses),
      same,
    ),
    acknowledgements: added(
      timeline.acknowledgements,
      all(committed, (from) => from.acknowledgements),
      same,
    ),
    erasures: added(
      timeline.erasures,
      all(committed, (from) => from.erasures),
      same,
    ),
    repairs: added(
      timeline.repairs,
      all(committed, (from) => from.repairs),
      same,
    ),
    forgotten: added(
      timeline.forgotten,
      all(committed, (from) => from.forgotten),
      ({ first }) => `${first}`,
    ),
    marks,
    holds,
  }
  const { generation, segments, pruned: _, ...own } = timeline
  const sections = sectionsOf(entriesOf(own), { ...fresh, ...(pruned.length === 0 ? {} : { pruned }) })
  const doubtful = withRanges(
    pruned,
    all(sources, (from) => from.pruned),
  ).filter((range) => !pruned.includes(range))
  return { timeline: { generation, segments, ...sections }, marks, holds, doubtful }
}

function entriesOf(sections: Partial<Sections>): readonly LedgerEntry[] {
  return Object.entries(sections).flatMap(([name, values]) =>
    (values ?? []).map((value): LedgerEntry => ({ [name]: value })),
  )
}

/** Of `others`, the newest first, what is not known by its identity. */
function added<T>(known: readonly T[] = [], others: readonly T[], idOf: (value: T) => string): readonly T[] {
  const ids = new Set(known.map(idOf))
  return others.filter((value) => {
    const isNew = !ids.has(idOf(value))
    ids.add(idOf(value))
    return isNew
  })
}

/** A stream that only a node knows which no root names may hold more than that says. */
function streamsOf(timeline: Timeline, sources: readonly Testimony[]): readonly StreamEntry[] {
  const entries = sources.flatMap(({ isCommitted, sections }) =>
    sections.streams.map((stream): StreamEntry => (isCommitted ? stream : { ...stream, state: 'open' })),
  )
  return added(timeline.streams, entries, ({ id }) => id)
}

/** The ranges, which are apart, with what of `others` is in none of them. */
function withRanges(ranges: readonly PrunedRange[], others: readonly PrunedRange[]): readonly PrunedRange[] {
  const all = [...ranges]
  for (const range of others) all.push(...without([range], union(all)).map((part) => ({ ...range, ...part })))
  return all.sort((a, b) => (a.from < b.from ? -1 : 1))
}
