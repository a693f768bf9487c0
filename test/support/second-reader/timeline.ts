import { hex, must, sealed } from './bytes.ts'
import { type IndexNode, ledgerBelow, MOST_BYTES, segmentsBelow, type TreeNode, withRuns } from './nodes.ts'

/** The files of a store by key, decrypted. */
export type Files = ReadonlyMap<string, Uint8Array>

export interface Segment {
  key: string
  stream: string
  firstSequence: number
  lastSequence: number
  firstUlid: string
  lastUlid: string
  events: number
  bytes: number
  sha256: string
  footer: { bytes: number; crc32: number }
  chain: { previous: string; value: string }
  /** Of a file of a run (6.4), which has neither a stream nor sequences nor a chain. */
  run?: {
    key: string
    bytes: number
    sha256: string
    index: { key: string; bytes: number; sha256: string; rowGroups: number }
  }
}

interface Range {
  stream: string
  firstSequence: number
  lastSequence: number | null
  afterUlid: string
  beforeUlid: string
}

export interface Snapshot {
  ulid: string
  consistentFrom: string
  prefix: string
  records: number
  manifestSha256: string
  except?: Range[]
}

export interface Stream {
  id: string
  state: 'open' | 'closed'
  openedAt: string
  sealedThrough: string
  lastSequence: number
  lastUlid: string
  chain: string
  sealed?: { firstSequence: number; lastSequence: number; firstUlid: string; lastUlid: string }[]
  shed?: { firstSequence: number; lastSequence: number; after: string; before: string | null }[]
}

interface Acknowledgement {
  stream: string
  firstSequence: number
  lastSequence: number | null
  reason: string
  by: string
  at: string
}

export interface Timeline {
  epochs: { epoch: number; restored: string | null; restoring?: object }[]
  streams: Stream[]
  segments: Segment[]
  snapshots: Snapshot[]
  losses: { stream: string; firstSequence: number; after: string; through: string }[]
  acknowledgements: Acknowledgement[]
  erasures: { keyring?: number }[]
  marks?: { name: string; ulid: string; at: string }[]
  holds?: { id: string; from: string; through: string; until: string | null; reason: string; by: string | null }[]
  repairs?: { generation: number; first: number; last: number }[]
  forgotten?: { first: number; last: number; key: string; sha256: string }[]
  pruned?: { from: string; through: string; at: string; since?: string; by: string }[]
  condemned?: { key: string }[]
}

interface Root {
  format: number
  generation: number
  previous: string | null
  timeline: Omit<Timeline, 'segments'> & { ledger: TreeNode[]; segments: { nodes: IndexNode[]; tail: Segment[] } }
}

/** The last generation (3), and its head (6.1); of those before it that are there, each is checked against the next one. */
export function readTimeline(files: Files): { timeline: Timeline; head: string } {
  const keys = [...files.keys()].filter((key) => key.startsWith('timeline/')).sort()
  const all = keys.map((key) => Number(key.slice(9, 21)))
  const last = all.at(-1) ?? 0
  const bytes = files.get(timelineKey(last)) ?? new Uint8Array(0)
  must(bytes.length <= MOST_BYTES, 'the root is too large')
  const timeline = timelineOf(files, sealed<Root>(bytes))
  // What a repair stands for may be damaged, and is needed by nobody (3.4).
  const { repairs = [] } = timeline
  const numbers = all.filter((n) => !repairs.some(({ first, last: end }) => first <= n && n <= end))
  for (const n of numbers) {
    const one: Root = sealed(files.get(timelineKey(n)))
    must(one.format === 2 && one.generation === n, `generation ${n} is out of place`)
    const before = files.get(timelineKey(n - 1))
    const isNext = one.previous === (before === undefined ? null : hex(before))
    const isMade = one.previous === null && repairs.some(({ generation }) => generation === n)
    must(isNext || isMade || (before === undefined && n > 1), `generation ${n} follows another one`)
  }
  const [oldest = 0] = numbers
  const { previous }: Root = sealed(files.get(timelineKey(oldest)))
  const known = headOf(files, timeline, oldest - 1)
  must(known === null || known === previous, `generation ${oldest} does not follow what went`)
  return { timeline, head: `${last}-${hex(bytes)}` }
}

/** The hash of a generation whose file went (3.1); null where it is none of these, or could not be read. */
function headOf(files: Files, { forgotten = [] }: Timeline, generation: number): string | null {
  const list = forgotten.find(({ first, last }) => first <= generation && last >= generation)
  if (list === undefined) return null
  const bytes = Buffer.from(files.get(list.key) ?? [])
  must(hex(bytes) === list.sha256 && bytes.length === 32 * (list.last - list.first + 1), `${list.key} is damaged`)
  const at = 32 * (generation - list.first)
  const hash = bytes.toString('hex', at, at + 32)
  return hash === '0'.repeat(64) ? null : hash
}

/** What stands in the root, and in the leaves below it (3.5). */
function timelineOf(files: Files, { timeline }: Root): Timeline {
  const { ledger, segments, ...own } = timeline
  const absent = { marks: [], holds: [], repairs: [], forgotten: [], pruned: [], condemned: [] }
  const below = segmentsBelow(files, segments.nodes)
  const whole: Timeline = { ...absent, ...own, segments: [...below, ...withRuns(segments.tail)] }
  for (const entry of ledgerBelow(files, ledger)) {
    const [name = '', ...others] = Object.keys(entry)
    must(others.length === 0 && name !== 'segments' && isSection(name, whole), `no list is called ${name}`)
    whole[name].push(...Object.values(entry))
  }
  whole.epochs.sort((a, b) => a.epoch - b.epoch)
  whole.streams.sort((a, b) => (a.id < b.id ? -1 : 1))
  whole.snapshots.sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
  whole.marks?.sort((a, b) => (a.name < b.name ? -1 : 1))
  whole.holds?.sort((a, b) => (a.id < b.id ? -1 : 1))
  return whole
}

function isSection(name: string, timeline: Timeline): name is 'losses' {
  return Object.hasOwn(timeline, name)
}

function timelineKey(generation: number): string {
  return `timeline/${String(generation).padStart(12, '0')}.json`
}
