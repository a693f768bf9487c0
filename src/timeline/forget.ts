import { concat, nonce, sha256, sha256Bytes } from '../base/bytes.ts'
import { hasCode, isMissing, TidemarkError } from '../base/errors.ts'
import {
  headsKey,
  NODE_PREFIX,
  nodeGeneration,
  parseTimelineKey,
  TIMELINE_PREFIX,
  timelineKey,
} from '../format/keys.ts'
import type { Heads, Timeline, TimelineChange, TreeNode } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { deleteAllowed, type Undeleted } from '../store/refusals.ts'
import { type CatalogueNodes, lastForgotten, readHead, type TimelineHead } from './head.ts'
import { damagedNode, NAMED_WITHIN, type NodeReader } from './nodes.ts'

/*
 * Old generations go: what they say is in later ones. What stays of each is its hash, so that a head that was noted can still
 * be compared.
 *
 * A number whose file went is free again, and a writer that slept may put its next generation there: that succeeds, and
 * commits nothing. So whoever has put a generation looks whether there are later ones (`TimelineLog.commit`). Some always
 * are, where its number was taken before, since the last ones stay. Nothing of this rests on a clock.
 *
 * A node goes where neither the present timeline nor the oldest one that stays names it, and the generation that it was put for
 * has gone, with `NAMED_WITHIN` behind it. Each generation that begins to name it, or does so again, is one of these (`NodeFiles`):
 * so it has gone, or no attempt at it can succeed any more, and whatever stays names the node only where the oldest that stays does.
 */
/** The last files, which stay whatever is done: a reader is about to read them, a listing may be so far behind. */
const KEPT = 256
/** Nothing is done for less. */
const LEAST = 256
/** A list of heads that would be longer than that is not made longer: it is put with a commit, and both are small together. */
const LONG_LIST = 1024

const HASH_BYTES = 32

/** How many generations stay, and how many go at least; for those who test it with few. */
export interface Forgetfulness {
  readonly kept: number
  readonly least: number
}

/** A `TimelineLog`, as it is needed here. */
export interface Catalogue {
  readonly timeline: Timeline
  readonly nodes: CatalogueNodes
  readonly present: TimelineHead
  refresh(): Promise<Timeline>
  commit(change: (timeline: Timeline) => TimelineChange | null): Promise<Timeline>
}

const BY_DEFAULT: Forgetfulness = { kept: KEPT, least: LEAST }
/** For whoever looks after a store now and then: they may not come again for long. */
export const SELDOM: Forgetfulness = { kept: KEPT, least: 64 }

/** What has gone. */
export interface Forgotten {
  readonly generations: number
  /** Files of generations, and nodes that nothing named. */
  readonly files: number
  /** Files that the store did not let go: they do no harm, and the next time they are tried again. */
  readonly refused: readonly Undeleted[]
}

const NOTHING: Forgotten = { generations: 0, files: 0, refused: [] }

/** The last generation that may go now, or null where too few would. Costs nothing. */
export function forgettable(timeline: Timeline, { kept, least }: Forgetfulness = BY_DEFAULT): number | null {
  const end = timeline.generation - kept
  return end - firstKept(timeline) + 1 >= Math.max(1, least) ? end : null
}

/** The first generation whose file may be there: not of those whose files went, nor of those that were lost before a repair. */
function firstKept(timeline: Pick<Timeline, 'forgotten' | 'repairs'>): number {
  let first = lastForgotten(timeline) + 1
  for (const repair of [...(timeline.repairs ?? [])].sort((a, b) => a.first - b.first))
    if (repair.first <= first && repair.last >= first) first = repair.last + 1
  return first
}

/**
 * Lets old generations go, and nodes that nobody needs: their hashes are put and committed first. Errors: those of the store;
 * where some or all files may not be deleted is no error.
 */
export async function forgetGenerations(
  store: ObjectStore,
  log: Catalogue,
  forgetfulness: Forgetfulness = BY_DEFAULT,
): Promise<Forgotten> {
  let all = NOTHING
  for (;;) {
    const { generations, files, refused } = await forgetSome(store, log, forgetfulness)
    // What is refused is tried again each time.
    all = { generations: all.generations + generations, files: all.files + files, refused }
    if (generations < LONG_LIST) return all
  }
}

/** As many as one list has heads of. */
async function forgetSome(store: ObjectStore, log: Catalogue, forgetfulness: Forgetfulness): Promise<Forgotten> {
  const before = await log.refresh()
  const end = forgettable(before, forgetfulness)
  if (end === null) return NOTHING
  const first = firstKept(before)
  const last = Math.min(end, first + LONG_LIST - 1)
  const known = before.forgotten?.at(-1)
  const isLong = known === undefined || known.last !== first - 1 || last - known.first + 1 > LONG_LIST
  const longer = isLong ? null : known
  const found = longer === null ? null : await headsOr(store, longer)
  // Another process may have put a longer one in its place.
  if (found === 'gone' && (await log.refresh()).forgotten?.at(-1)?.key !== longer?.key) return NOTHING
  const start = found === 'gone' ? null : found
  const hashes: Uint8Array[] = []
  for (let generation = first; generation <= last; generation++) hashes.push(await hashOf(store, generation))
  const bytes = concat([...(start === null ? [] : [start]), ...hashes])
  const from = start === null || longer === null ? first : longer.first
  const heads: Heads = { first: from, last, key: headsKey(from, last, nonce()), sha256: sha256(bytes) }
  await store.put(heads.key, bytes, { ifAbsent: true })
  // New before old: what stays of the files is read back before one goes.
  await readHeads(store, heads)
  await proveNodes(store, log, first)
  // Who did the same at the same time has it done; the list of this attempt names nothing and nobody names it.
  const after = await log.commit((now) => (firstKept(now) === first ? { forget: heads } : null))
  if (after.forgotten?.at(-1)?.key !== heads.key) return NOTHING
  const old = await forgottenFiles(store, last)
  const refused = [...(await deleteAllowed(store, old))]
  if (start !== null && longer !== null) refused.push(...(await deleteAllowed(store, [longer.key])))
  const nodes = await deadNodes(store, log, last)
  refused.push(...(await deleteAllowed(store, nodes)))
  const stay = refused.filter(({ key }) => key !== longer?.key).length
  return { generations: last - first + 1, files: old.length + nodes.length - stay, refused }
}

/** The hashes of a list that is to be made longer. Null where it is damaged: another one begins behind it then. */
async function headsOr(store: ObjectStore, heads: Heads): Promise<Uint8Array | 'gone' | null> {
  try {
    return await readHeads(store, heads)
  } catch (error) {
    if (hasCode(error, 'TIMELINE_CORRUPT')) return null
    if (hasCode(error, 'OBJECT_NOT_FOUND')) return 'gone'
    throw error
  }
}

/** A generation that is damaged or was lost has no hash that anybody could have noted. */
async function hashOf(store: ObjectStore, generation: number): Promise<Uint8Array> {
  try {
    return sha256Bytes(await store.get(timelineKey(generation)))
  } catch (error) {
    const isDamaged = error instanceof TidemarkError && error.category === 'corrupt'
    if (!isDamaged && !hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    return new Uint8Array(HASH_BYTES)
  }
}

/** The hashes of a list. Errors: `TIMELINE_CORRUPT`. */
export async function readHeads(store: Pick<ObjectStore, 'get'>, heads: Heads): Promise<Uint8Array> {
  const bytes = await store.get(heads.key)
  checkHeads(heads, bytes)
  return bytes
}

/** Errors: `TIMELINE_CORRUPT` where these are not the bytes of the list. */
export function checkHeads({ first, last, key, sha256: expected }: Heads, bytes: Uint8Array): void {
  if (bytes.length === (last - first + 1) * HASH_BYTES && sha256(bytes) === expected) return
  throw new TidemarkError('TIMELINE_CORRUPT', `The list of heads ${key} is damaged: it is not what was written.`, {
    hint: 'Nothing of the history needs it: only heads that were noted from then cannot be compared any more.',
    details: { key },
  })
}

/** The hash of a generation in a list, lower-case hex. */
export function headIn(bytes: Uint8Array, { first }: Heads, generation: number): string {
  const at = (generation - first) * HASH_BYTES
  return Buffer.from(bytes.subarray(at, at + HASH_BYTES)).toString('hex')
}

/** Also what an earlier deletion has left that was broken off, and what a writer that slept has put. */
async function forgottenFiles(store: ObjectStore, last: number): Promise<readonly string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(TIMELINE_PREFIX)) {
    const generation = parseTimelineKey(key)
    if (generation !== null && generation > last) break
    if (generation !== null) keys.push(key)
  }
  return keys
}

/** Nodes that were put for generations that have gone, and that no timeline names which stays. */
async function deadNodes(store: ObjectStore, log: Catalogue, last: number): Promise<readonly string[]> {
  const candidates: string[] = []
  for await (const { key } of store.list(NODE_PREFIX)) {
    const generation = nodeGeneration(key)
    if (generation !== null && generation + NAMED_WITHIN <= last) candidates.push(key)
  }
  const named = new Map<string, string>()
  try {
    await nameAll(named, await readHead(store, last + 1, log.nodes), log.nodes)
  } catch (error) {
    // Others have gone on, and it went, or nodes of it: they sweep.
    if (isMissing(error) || hasCode(error, 'TIMELINE_CORRUPT')) return []
    throw error
  }
  const { generation } = log.present.timeline
  try {
    await nameAll(named, log.present, log.nodes)
  } catch (error) {
    if (isMissing(error) && (await log.refresh()).generation > generation) return []
    throw error
  }
  return candidates.filter((key) => !named.has(key))
}

/** Views of the catalogue in which a node may be missing because others went on, one after the other. */
const MOST_VIEWS = 8

/** That the nodes are whole which the timeline rests on, and that were put since generations went the last time. */
async function proveNodes(store: ObjectStore, log: Catalogue, since: number): Promise<void> {
  for (let view = 1; ; view++) {
    const { generation } = log.present.timeline
    try {
      return await proveNodesOf(store, log, since)
    } catch (error) {
      if (!isMissing(error) || view === MOST_VIEWS) throw error
      // Others may have gone on, and let it go.
      if ((await log.refresh()).generation === generation) throw error
    }
  }
}

async function proveNodesOf(store: ObjectStore, { nodes, present }: Catalogue, since: number): Promise<void> {
  const named = new Map<string, string>()
  await nameAll(named, present, nodes)
  for (const [key, expected] of named) {
    if ((nodeGeneration(key) ?? 0) < since) continue
    if (sha256(await store.get(key)) !== expected) throw damagedNode(key, 'it is not what was written')
  }
}

async function nameAll(
  named: Map<string, string>,
  { timeline, ledger }: TimelineHead,
  nodes: CatalogueNodes,
): Promise<void> {
  await name(named, timeline.segments.nodes, nodes.segments)
  await name(named, ledger.nodes, nodes.ledger)
}

async function name<Node extends TreeNode, Entry>(
  named: Map<string, string>,
  nodes: readonly Node[],
  reader: NodeReader<Node, Entry>,
): Promise<void> {
  for (const node of nodes) {
    if (named.has(node.key)) continue
    named.set(node.key, node.sha256)
    if (node.height === 0) continue
    const content = await reader.read(node)
    if ('nodes' in content) await name(named, content.nodes, reader)
  }
}
