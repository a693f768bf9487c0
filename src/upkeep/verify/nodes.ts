import { isMissing } from '../../base/errors.ts'
import { isNodeKey } from '../../format/keys.ts'
import type { IndexNode, MergedSegment, SegmentEntry, SegmentTree, Timeline, TreeNode } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import { ledgerNodes } from '../../timeline/ledger.ts'
import type { Root } from '../../timeline/root.ts'
import type { SegmentNodes } from '../../timeline/segments.ts'
import { filesOf } from '../run-chains.ts'
import type { Inspection } from './inspection.ts'
import { type Present, unlessGone } from './present.ts'

/** What the catalogue names, as far as it can be read. */
export interface NamedFiles {
  readonly isNamed: (key: string) => boolean
  /** False where a node is damaged: then nobody knows everything that is named. */
  readonly isWhole: boolean
}

/** Who is given the segments of a catalogue. */
export interface SegmentListener {
  /** Reads one; what it throws is damage of the file. */
  readonly check: (entry: SegmentEntry) => Promise<void>
  /** Reads a file that a whole run has, before its first segment; as `check`. */
  readonly checkRun: (entry: MergedSegment, file: string) => Promise<void>
  /** One was not read, or not as a part of what it belongs to. */
  readonly onUnread: (entry: SegmentEntry) => void
}

/** What the catalogue is read with. `nodes` count what they read. */
export interface CatalogueSeams {
  readonly inspection: Inspection
  readonly nodes: SegmentNodes
  readonly present: Present
}

/**
 * Reads every node of the catalogue once, and gives every segment to `listener`. Where a file is missing because others went
 * on (a merge, an erasure, a pruning), what stands in its place by now is read instead.
 */
export async function verifyNodes(
  { inspection, nodes, present }: CatalogueSeams,
  { segments }: Timeline,
  root: Root | null,
  listener: SegmentListener,
): Promise<NamedFiles> {
  const walk = new SegmentWalk(inspection, nodes, listener)
  await walk.read(segments)
  await walk.follow(present)
  const { named } = walk
  let { isWhole } = walk
  const ledger = ledgerNodes({ get: (key) => inspection.read(key) })
  const look = async (node: TreeNode, above: readonly string[]): Promise<void> => {
    named.add(node.key)
    const path = [...above, node.key]
    const read = inspection.guard(node.key, async () => {
      const content = await unlessGone(ledger.read(node), () => present.needsLedger(path))
      for (const below of content !== null && 'nodes' in content ? content.nodes : []) await look(below, path)
    })
    isWhole = (await read) && isWhole
  }
  for (const node of root?.content.ledger ?? []) await look(node, [])
  // Of a timeline that is made again, or whose root cannot be read, the nodes are not known.
  const isKnown = root !== null && isSame(root.content.segments.nodes, segments.nodes)
  return { isNamed: (key) => named.has(key) || (!isKnown && isNodeKey(key)), isWhole }
}

/** A file that was named and is not there, the nodes on the way to it, and what is below it. */
interface Missed {
  readonly error: unknown
  readonly path: readonly string[]
  readonly below: Pick<IndexNode, 'firstUlid' | 'lastUlid'>
}

/** Walks the tree of segments, and again what of it is missing, in the tree as it is by then. */
class SegmentWalk {
  /** Every file that was met. */
  readonly named = new Set<string>()
  isWhole = true
  readonly #inspection: Inspection
  readonly #nodes: SegmentNodes
  readonly #listener: SegmentListener
  #missed = new Map<string, Missed>()
  /** What was missing in the walk before this one: it is read again where it is named again. */
  #before: ReadonlyMap<string, Missed> = new Map()
  /** Nodes that this walk has met and did not read, as one before has. */
  readonly #known = new Set<string>()
  /** Chain files of the runs that this walk has met, and those before it. */
  readonly #chains = new Set<string>()
  #chainsBefore: ReadonlySet<string> = new Set()

  constructor(inspection: Inspection, nodes: SegmentNodes, listener: SegmentListener) {
    this.#inspection = inspection
    this.#nodes = nodes
    this.#listener = listener
  }

  async read({ nodes, tail }: SegmentTree): Promise<void> {
    for (const node of nodes) await this.#node(node, [])
    await this.#segments(tail, [])
  }

  /** Until nothing is missing that the timeline names: each file is looked for twice at most. */
  async follow(present: Present): Promise<void> {
    while (this.#missed.size > 0) {
      const now = await present.refresh()
      this.#before = this.#missed
      this.#missed = new Map()
      this.#known.clear()
      this.#chainsBefore = new Set(this.#chains)
      if (now === null) return this.#tell(() => true)
      await this.read(now.segments)
      this.#tell((_, { path }) => path.some((key) => this.#known.has(key)))
    }
  }

  /** What was missing and is named still is damage; the rest has gone as it should. */
  #tell(isNamed: (key: string, missed: Missed) => boolean): void {
    for (const [key, missed] of this.#before) if (isNamed(key, missed)) this.#damaged(key, missed.error)
    this.#before = new Map()
  }

  #damaged(key: string, error: unknown): void {
    this.#inspection.found(key, error)
    if (isNodeKey(key)) this.isWhole = false
  }

  async #node(node: IndexNode, path: readonly string[]): Promise<void> {
    const { key } = node
    if (!this.#isWanted(node)) return
    if (this.#wasRead(key)) {
      this.#known.add(key)
      return
    }
    this.named.add(key)
    const below = [...path, key]
    const isRead = await this.#attempt(key, { path, below: node }, async () => {
      const content = await this.#nodes.read(node)
      if ('entries' in content) await this.#segments(content.entries, below)
      else for (const lower of content.nodes) await this.#node(lower, below)
    })
    this.isWhole = isRead && this.isWhole
  }

  async #segments(entries: readonly SegmentEntry[], path: readonly string[]): Promise<void> {
    this.#inspection.expect(this.#unread(entries))
    for (const entry of entries) await this.#segment(entry, path)
  }

  /** The files that `#segment` will read. */
  *#unread(entries: readonly SegmentEntry[]): Generator<string> {
    const met = new Set<string>()
    for (const entry of entries) {
      if (!this.#isWanted(entry)) continue
      const files = 'run' in entry ? [entry.run.index, entry.run, entry] : [entry]
      for (const { key } of files) {
        if (met.has(key) || this.#wasRead(key)) continue
        met.add(key)
        yield key
      }
    }
  }

  /** By a walk before, or this one, and not to be read again. */
  #wasRead(key: string): boolean {
    return this.named.has(key) && !this.#before.has(key)
  }

  async #segment(entry: SegmentEntry, path: readonly string[]): Promise<void> {
    const { key } = entry
    if (!this.#isWanted(entry)) return
    if ('run' in entry) await this.#run(entry, path)
    if (this.#wasRead(key)) {
      // An erasure has written others of its run anew, and the chain file.
      if ('run' in entry && !this.#chainsBefore.has(entry.run.key)) this.#listener.onUnread(entry)
      return
    }
    for (const file of filesOf(entry)) this.named.add(file)
    if (!(await this.#attempt(key, { path, below: entry }, () => this.#listener.check(entry))) || this.#missed.has(key))
      this.#listener.onUnread(entry)
  }

  async #run(entry: MergedSegment, path: readonly string[]): Promise<void> {
    const { run } = entry
    this.#chains.add(run.key)
    for (const { key } of [run, run.index]) {
      if (this.#wasRead(key)) continue
      await this.#attempt(key, { path, below: entry }, () => this.#listener.checkRun(entry, key))
    }
  }

  /** At first all; then what may stand in the place of what is missing. */
  #isWanted({ firstUlid, lastUlid }: { readonly firstUlid: Ulid; readonly lastUlid: Ulid }): boolean {
    if (this.#before.size === 0) return true
    return [...this.#before.values()].some(({ below }) => below.lastUlid >= firstUlid && below.firstUlid <= lastUlid)
  }

  /** False where something is wrong with the file. One that is missing for the first time may have gone as it should. */
  #attempt(key: string, place: Omit<Missed, 'error'>, read: () => Promise<void>): Promise<boolean> {
    return this.#inspection.guard(key, async () => {
      try {
        await read()
      } catch (error) {
        if (!isMissing(error) || this.#before.has(key)) throw error
        this.#missed.set(key, { ...place, error })
      }
    })
  }
}

function isSame(a: readonly TreeNode[], b: readonly TreeNode[]): boolean {
  return a.length === b.length && a.every(({ key }, i) => key === b[i]?.key)
}
