import type { TimelineChange } from '../model/timeline.ts'
import {
  type Arrangement,
  type CatalogueNodes,
  type GoingOut,
  goingOut,
  type NextGeneration,
  nextGeneration,
  type TimelineHead,
} from './head.ts'
import { LEDGER } from './ledger.ts'
import { SEGMENTS } from './segments.ts'
import { bytesOf } from './tree.ts'

/*
 * What a commit puts is bounded, whatever the history is. Three things keep it so.
 *
 * The root is bounded: of a tree it has fewer nodes of each height than make one of the next, and its tails are less than
 * leaves. A node has at most 292 bytes of JSON in the tree of segments and 160 in the ledger; of the two lowest heights 23 stand
 * in a root, of each higher one 7. At a million segments, of heights up to four, that is 67 x 292 + 67 x 160 bytes = 30 KiB. With
 * tails of 16 KiB and one segment more (2 KiB), and of 8 KiB, 1 KiB for the rest, and a node of every height in both trees that
 * is new (10 x 450 bytes: its file, and its name above), there are 4 KiB left for streams that are open. Where more are, room is
 * made as below.
 *
 * What goes from a root into nodes has the same bytes there, and little more. So a commit that adds a segment writes hardly more
 * than the root has, but where nodes that were there before are joined with what is new: they are where there is room for it.
 *
 * A commit that takes entries out writes all of the leaves anew that have others too, and the nodes on the way to them. Where that
 * is too much, generations are committed before it that say the same as those before them in other nodes: they
 * make the root small, and leave entries that are to go in leaves by themselves, one leaf at a time.
 */
/** Bytes of all files that a commit puts, at most, but for a change that has more itself. */
const COMMIT_BYTES: number = 64 * 1024

/** What of a change with as much nothing that is done before it makes less. */
const LARGE_CHANGE = COMMIT_BYTES - 8 * 1024

/** Bytes that an entry needs which is in a leaf by itself: those of the file, and of the node that is named above. */
const LEAF_ALONE_BYTES = 500

/** Less than that in the tails of a root is not put into leaves ahead of time. */
const LEAST_TAIL_BYTES = 4 * 1024

/** Nor are so few nodes. */
const FEW_NODES = 8

/** Generations that are committed before one to make room for it, at most. */
export const MOST_STEPS = 64

/** A generation on the way to a change. */
export interface Step extends NextGeneration {
  /** False: it says what the one before it says, and the change is still to be made. */
  readonly isDone: boolean
}

/**
 * What is committed next to make a change: the change itself, or what makes room for it, where `canPrepare`. Errors: as
 * `nextGeneration`.
 */
export async function nextStep(
  head: TimelineHead,
  change: TimelineChange,
  nodes: CatalogueNodes,
  put: ReadonlyMap<string, string>,
  canPrepare: boolean,
): Promise<Step> {
  const own = change.forget === undefined ? 0 : headsBytes(change.forget)
  const needed = own + leastBytes(change)
  // Whatever is done, it is more: once is enough.
  if (needed > COMMIT_BYTES) return { ...(await nextGeneration(head, change, nodes, put)), isDone: true }
  let least: NextGeneration | null = null
  for (const joins of ['both', 'segments', 'none'] as const) {
    const made = await nextGeneration(head, change, nodes, put, { joins, carrying: 'full', going: null })
    if (own + bytesPut(made) <= COMMIT_BYTES) return { ...made, isDone: true }
    if (least === null || bytesPut(made) < bytesPut(least)) least = made
    // There is nothing that could be smaller.
    if (made.files.length === 0) break
  }
  const preparing = canPrepare && needed < LARGE_CHANGE
  const room = preparing ? await roomFor(head, change, nodes, put) : null
  return room ?? { ...(least ?? (await nextGeneration(head, change, nodes, put))), isDone: true }
}

/** A generation that says the same as the last, and makes room for a change. Null: there is none that would. */
async function roomFor(
  head: TimelineHead,
  change: TimelineChange,
  nodes: CatalogueNodes,
  put: ReadonlyMap<string, string>,
): Promise<Step | null> {
  for (const arrangement of arrangementsFor(head, goingOut(head, change))) {
    const made = await nextGeneration(head, {}, nodes, put, arrangement)
    if (nodesIn(made.next) !== nodesIn(head) && bytesPut(made) <= COMMIT_BYTES) return { ...made, isDone: false }
  }
  return null
}

/** What tells whether something was done: a file that it needs may have been put by an attempt before. */
function nodesIn({ timeline, ledger }: TimelineHead): string {
  return [...timeline.segments.nodes, ...ledger.nodes].map(({ key }) => key).join()
}

/** The first of them that does something is taken. */
function arrangementsFor({ timeline, ledger }: TimelineHead, going: GoingOut): readonly Arrangement[] {
  const { nodes, tail } = timeline.segments
  const hasTail = bytesOf(tail, SEGMENTS.listed) + bytesOf(ledger.tail, LEDGER.listed) >= LEAST_TAIL_BYTES
  const hasNodes = nodes.length + ledger.nodes.length > FEW_NODES
  return [
    ...(hasTail
      ? (['both', 'none'] as const).map((joins) => ({ joins, carrying: 'entries', going: null }) as const)
      : []),
    { joins: 'none', carrying: 'full', going },
    ...(hasNodes ? [{ joins: 'none', carrying: 'all', going: null } as const] : []),
  ]
}

/** Bytes of everything that is put for a generation. */
function bytesPut({ bytes, files }: Pick<NextGeneration, 'bytes' | 'files'>): number {
  return files.reduce((sum, file) => sum + file.bytes.length, bytes.length)
}

function headsBytes({ first, last }: NonNullable<TimelineChange['forget']>): number {
  return (last - first + 1) * 32
}

/** What is new in a change, as JSON: at least so much has to be put. */
function leastBytes({ merge, erase, prune, ...rest }: TimelineChange): number {
  const segments = [...(merge?.by ?? []), ...(erase?.segments ?? []).map(({ by }) => by)]
  const condemned = [...(prune?.segments ?? []), ...(prune?.snapshots ?? [])].map(({ bytes }) => bytes)
  const parts = { rest, segments, snapshots: erase?.snapshots, entry: erase?.entry, pruned: prune?.pruned }
  const apart = (erase?.segments.length ?? 0) * LEAF_ALONE_BYTES + condemned.length * CONDEMNED_BYTES
  return Buffer.byteLength(JSON.stringify(parts)) + apart
}

/** Of something that is condemned: its key, size and time. */
const CONDEMNED_BYTES = 150
