import { hex, must, sealed } from './bytes.ts'
import type { Files, Segment } from './timeline.ts'

/** What a root or a node has at most (1). */
export const MOST_BYTES: number = 16 * 1024 * 1024

/** A node, as the one above it or the root names it (3.5). */
export interface TreeNode {
  key: string
  sha256: string
  height: number
  width: number
}

/** A node with segments below it. */
export interface IndexNode extends TreeNode {
  firstUlid: string
  lastUlid: string
  segments: number
  events: number
  bytes: number
}

/** A value with the name of its list. */
export type LedgerEntry = Record<string, never>

interface NodeFile {
  format: number
  tree: string
  height: number
  segments?: Segment[]
  ledger?: LedgerEntry[]
  nodes?: IndexNode[]
}

/** The entries in the leaves below these nodes; every node on the way is checked. */
export function segmentsBelow(files: Files, nodes: IndexNode[]): Segment[] {
  return nodes.flatMap((node) => {
    const { nodes: lower, segments: listed } = fileOf(files, node, 'segments')
    const segments = listed && withRuns(listed)
    const below = lower ?? (segments ?? []).map((one) => ({ ...one, segments: 1 }))
    const ulids = [...below.map(({ firstUlid }) => firstUlid), ...below.map(({ lastUlid }) => lastUlid)].sort()
    must(node.firstUlid === ulids[0] && node.lastUlid === ulids.at(-1), `${node.key} has other stamps`)
    for (const of of ['segments', 'events', 'bytes'] as const)
      must(node[of] === below.reduce((sum, one) => sum + one[of], 0), `${node.key} has other ${of}`)
    return lower === undefined ? (segments ?? []) : segmentsBelow(files, lower)
  })
}

/** Segments as a list has them: one of a run that stands before has the key of its chain file instead (3.2). */
export function withRuns(listed: readonly (Omit<Segment, 'run'> & { run?: Segment['run'] | string })[]): Segment[] {
  const runs = new Map<string, Segment['run']>()
  return listed.map(({ run, ...own }) => {
    if (run === undefined) return own
    if (typeof run !== 'string') runs.set(run.key, run)
    const known = runs.get(typeof run === 'string' ? run : run.key)
    must(known !== undefined, `${own.key} is of a run that does not stand before it`)
    return { ...own, run: known }
  })
}

/** As `segmentsBelow`, of the ledger. */
export function ledgerBelow(files: Files, nodes: TreeNode[]): LedgerEntry[] {
  return nodes.flatMap((node) => {
    const { nodes: lower, ledger } = fileOf(files, node, 'ledger')
    return lower === undefined ? (ledger ?? []) : ledgerBelow(files, lower)
  })
}

function fileOf(files: Files, { key, sha256, height, width }: TreeNode, tree: 'segments' | 'ledger'): NodeFile {
  const bytes = files.get(key) ?? new Uint8Array(0)
  must(bytes.length <= MOST_BYTES && hex(bytes) === sha256, `${key} is another file`)
  const file: NodeFile = sealed(bytes)
  must(file.format === 2 && file.tree === tree && file.height === height, `${key} is another node`)
  must((height === 0) === (file.nodes === undefined), `${key} has what no node of its height has`)
  must((file.nodes ?? file[tree])?.length === width, `${key} has another width`)
  must(
    (file.nodes ?? []).every((lower) => lower.height < height),
    `${key} names a node that is not lower`,
  )
  return file
}
