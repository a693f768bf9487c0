import type { IndexNode } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import type { SegmentNodes } from '../../timeline/segments.ts'

/**
 * Reads nodes for one look at the index after another, and lets go of what the look before has read and commits have replaced
 * since: hundreds of merges would fill with it all that is kept of nodes.
 */
export class LookedNodes {
  readonly #nodes: Pick<SegmentNodes, 'read' | 'forget'>
  #before: ReadonlyMap<string, Ulid> = new Map()
  /** Where each node begins that this look has read. */
  #now = new Map<string, Ulid>()

  constructor(nodes: Pick<SegmentNodes, 'read' | 'forget'>) {
    this.#nodes = nodes
  }

  readonly read: SegmentNodes['read'] = (node: IndexNode) => {
    this.#now.set(node.key, node.firstUlid)
    return this.#nodes.read(node)
  }

  /** To be called at the end of a look. What it has not come to stays, since that may be as it was. */
  endLook(): void {
    let end: Ulid = ''
    for (const firstUlid of this.#now.values()) if (firstUlid > end) end = firstUlid
    for (const [key, firstUlid] of this.#before) if (firstUlid <= end && !this.#now.has(key)) this.#nodes.forget(key)
    this.#before = this.#now
    this.#now = new Map()
  }
}
