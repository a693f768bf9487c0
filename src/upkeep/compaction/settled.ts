import type { IndexNode, SegmentEntry, SegmentTree } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import type { SegmentNodes } from '../../timeline/segments.ts'

/** Nodes that are read at once. */
const READ_AT_ONCE = 16

/** A leaf of the index that was looked at. */
interface Leaf {
  readonly key: string
  readonly runs: ReadonlySet<string>
  /** Of its units the one that begins last. */
  readonly last: Ulid
}

/**
 * The part of the index in which nothing can be merged any more, as a process has seen: nodes with nothing but segments of before
 * a window of the highest level that is open. A look at everything has found nothing to gain there, and nothing is added to a window that is
 * over. Nodes never change, so they need not be looked at again. Where a part of a run comes to stand outside of them, because a node
 * was written anew, everything is looked at again: a run is merged as a whole or not at all.
 */
export class SettledNodes {
  #nodes: ReadonlySet<string> = new Set()
  /** All runs with a file below these nodes. */
  #runs: ReadonlySet<string> = new Set()

  has({ key }: Pick<IndexNode, 'key'>): boolean {
    return this.#nodes.has(key)
  }

  /** Whether the rest of the run of an entry may be below a node that is left out. */
  isSplit(entry: SegmentEntry): boolean {
    return 'run' in entry && this.#runs.has(entry.run.key)
  }

  clear(): void {
    this.#nodes = new Set()
    this.#runs = new Set()
  }

  /** Notes what a look has seen that found nothing to gain: all units that begin before `open` are settled. */
  note(look: Look, open: Ulid): void {
    const { nodes, runs } = look.settledBefore(open)
    this.#nodes = nodes
    this.#runs = new Set([...this.#runs, ...runs])
  }
}

/** One look at the index: what it has read, and what it has left out as settled. */
export class Look {
  readonly #settled: SettledNodes
  readonly #leaves: Leaf[] = []
  readonly #leftOut = new Set<string>()
  /** Of every higher node that was read, the keys of the nodes in it; the lower ones first. */
  readonly #below = new Map<string, readonly string[]>()
  readonly #inTail = new Set<string>()

  constructor(settled: SettledNodes) {
    this.#settled = settled
  }

  /** All entries that are not settled: those of each leaf, and those of the root itself, which never are. */
  async *entries({ nodes, tail }: SegmentTree, read: SegmentNodes['read']): AsyncGenerator<readonly SegmentEntry[]> {
    yield* this.#inNodes(nodes, read)
    for (const entry of tail) if ('run' in entry) this.#inTail.add(entry.run.key)
    yield tail
  }

  async *#inNodes(nodes: readonly IndexNode[], read: SegmentNodes['read']): AsyncGenerator<readonly SegmentEntry[]> {
    const rest = nodes.filter((node) => !this.#settled.has(node))
    for (const node of nodes) if (!rest.includes(node)) this.#leftOut.add(node.key)
    for (let at = 0; at < rest.length; at += READ_AT_ONCE) {
      const some = rest.slice(at, at + READ_AT_ONCE)
      const contents = await Promise.all(some.map(read))
      for (const [i, content] of contents.entries()) {
        const key = some[i]?.key ?? ''
        if ('entries' in content) {
          this.#leaves.push(leafOf(key, content.entries))
          yield content.entries
        } else {
          yield* this.#inNodes(content.nodes, read)
          this.#below.set(
            key,
            content.nodes.map((node) => node.key),
          )
        }
      }
    }
  }

  /** The nodes, as high as they can be, below which every segment begins before `open` and no run is that has files elsewhere. */
  settledBefore(open: Ulid): { readonly nodes: ReadonlySet<string>; readonly runs: ReadonlySet<string> } {
    const exposed = new Set(this.#inTail)
    let rest = this.#leaves.filter(({ last }) => last < open)
    const old = new Set(rest)
    for (const { runs } of this.#leaves.filter((leaf) => !old.has(leaf))) for (const run of runs) exposed.add(run)
    for (let before = -1; before !== rest.length; ) {
      before = rest.length
      const isApart = ({ runs }: Leaf): boolean => [...runs].every((run) => !exposed.has(run))
      for (const { runs } of rest.filter((leaf) => !isApart(leaf))) for (const run of runs) exposed.add(run)
      rest = rest.filter(isApart)
    }
    const nodes = new Set([...this.#leftOut, ...rest.map(({ key }) => key)])
    for (const [key, below] of this.#below) {
      if (!below.every((one) => nodes.has(one))) continue
      for (const one of below) nodes.delete(one)
      nodes.add(key)
    }
    return { nodes, runs: new Set(rest.flatMap(({ runs }) => [...runs])) }
  }
}

function leafOf(key: string, entries: readonly SegmentEntry[]): Leaf {
  return {
    key,
    runs: new Set(entries.flatMap((entry) => ('run' in entry ? [entry.run.key] : []))),
    last: entries.reduce((last, { firstUlid }) => (firstUlid > last ? firstUlid : last), ''),
  }
}
