import { LIMITS } from '../base/limits.ts'
import { isMarkName } from '../model/mark.ts'
import type { IndexNode, SegmentEntry, StreamEntry, TreeNode } from '../model/timeline.ts'
import { isShortFilter } from './segment/bloom.ts'
import { type Check, hash, isText, isUlidText, listOf, matching, oneOf, orNull, shaped, wholeFrom } from './shape.ts'

/*
 * What the entries of a timeline must be, as in schemas/timeline.schema.json: a checksum says that a file is what was
 * written, not that a Tidemark wrote it.
 */
const count = wholeFrom(0)
const positive = wholeFrom(1)
const someText = matching(/./s)
const ulid = isUlidText

const segmentFile = {
  firstUlid: ulid,
  lastUlid: ulid,
  events: count,
  bytes: positive,
  sha256: hash,
  footer: shaped({ bytes: positive, crc32: wholeFrom(0, 2 ** 32 - 1) }),
}

/** Not every writer tells it. */
const filterUpTo = (most: number): Readonly<Record<string, Check>> => ({
  filter: (value) => isShortFilter(value, most),
})

const sealedSegment = shaped(
  {
    ...segmentFile,
    key: matching(/^segment\/[^/]+\/[0-9]{2}\/[0-9]{16}-[0-9]{16}-[0-9a-f]{8}\.parquet$/),
    level: wholeFrom(0, 0),
    stream: ulid,
    firstSequence: positive,
    lastSequence: positive,
    chain: shaped({ previous: hash, value: hash }),
  },
  filterUpTo(LIMITS.filterBytes),
)

const RUN = 'segment\\/[0-7][0-9A-HJKMNP-TV-Z]{25}\\/[0-9]{2}\\/'

const mergedSegment = shaped(
  {
    ...segmentFile,
    key: matching(new RegExp(`^${RUN}[0-9]{4}-[0-9a-f]{8}\\.parquet$`)),
    level: wholeFrom(1, 99),
    run: shaped({
      key: matching(new RegExp(`^${RUN}chain-[0-9a-f]{8}\\.json\\.gz$`)),
      bytes: positive,
      sha256: hash,
      index: shaped({
        key: matching(new RegExp(`^${RUN}index-[0-9a-f]{8}\\.bin$`)),
        bytes: positive,
        sha256: hash,
        rowGroups: count,
      }),
    }),
  },
  filterUpTo(LIMITS.runFilterBytes),
)

const segment: Check = (value) => (shaped({ run: () => true })(value) ? mergedSegment(value) : sealedSegment(value))

/** Whether a value is a gap. */
export const gap: Check = shaped({
  stream: ulid,
  firstSequence: positive,
  lastSequence: orNull(positive),
  afterUlid: ulid,
  beforeUlid: ulid,
})

const snapshot = shaped(
  {
    ulid,
    consistentFrom: ulid,
    prefix: matching(/^snapshot\/[0-7][0-9A-HJKMNP-TV-Z]{25}(-[0-9a-f]{8})?\/$/),
    records: count,
    bytes: positive,
    manifestSha256: hash,
  },
  { except: listOf(gap, 1) },
)

const onDisk = shaped({ kind: oneOf('disk'), path: someText })
const elsewhere: Check = (value) =>
  shaped({ kind: oneOf('store', 'memory') })(value) && !shaped({ path: () => true })(value)

const shed = shaped({ firstSequence: positive, lastSequence: positive, after: ulid, before: orNull(ulid) })

const sealedRange = shaped({ firstSequence: positive, lastSequence: positive, firstUlid: ulid, lastUlid: ulid })

const stream = shaped(
  {
    id: ulid,
    state: oneOf('open', 'closed'),
    host: isText,
    pid: positive,
    journal: (value) => onDisk(value) || elsewhere(value),
    openedAt: ulid,
    sealedThrough: ulid,
    lastSequence: count,
    lastUlid: ulid,
    chain: hash,
    owner: matching(/^[0-9a-f]{16}$/),
  },
  {
    sealed: listOf(sealedRange),
    shed: listOf(shed, 1),
    late: shaped({ after: ulid, through: ulid }),
    base: shaped({ sequence: positive, ulid, chain: hash }),
    started: someText,
    boot: someText,
    namespace: someText,
    door: someText,
  },
)

const scope = shaped({}, { resources: listOf(isText), ids: shaped({ count, sha256: hash }) })
const epoch = shaped({ epoch: positive, startedAt: ulid, restored: orNull(ulid) }, { restoring: scope })

const loss = shaped({
  stream: ulid,
  firstSequence: positive,
  after: ulid,
  through: ulid,
  cause: oneOf('crash', 'ended', 'missing'),
  reason: isText,
  by: orNull(isText),
})

const acknowledgement = shaped({
  stream: ulid,
  firstSequence: positive,
  lastSequence: orNull(positive),
  reason: someText,
  by: someText,
  at: ulid,
})

const erasure = shaped(
  {
    ulid,
    resource: isText,
    mode: oneOf('rewritten', 'keys'),
    reason: someText,
    by: orNull(isText),
    events: count,
    snapshots: count,
  },
  { keyring: positive },
)

const mark = shaped({ name: (value) => typeof value === 'string' && isMarkName(value), ulid, at: ulid })

const hold = shaped({
  id: ulid,
  from: ulid,
  through: ulid,
  until: orNull(ulid),
  reason: someText,
  by: orNull(isText),
})

const pruned = shaped({ from: ulid, through: ulid, at: ulid, by: someText }, { since: ulid })
const condemned = shaped(
  {
    key: matching(/^(segment\/[^/]+\/[0-9]{2}\/[^/]+\.(parquet|json\.gz|bin)|snapshot\/[^/]+\/)$/),
    bytes: count,
    at: ulid,
  },
  { seen: shaped({ from: count, through: count, longest: count }) },
)

const repair = shaped({ generation: positive, first: positive, last: positive })

const heads = shaped({
  first: positive,
  last: positive,
  key: matching(/^heads\/[0-9]{12}-[0-9]{12}-[0-9a-f]{8}\.bin$/),
  sha256: hash,
})

/** What stands in the root, or as `{<name>: <value>}` in nodes of the ledger. */
const sections: Readonly<Record<string, Check>> = {
  epochs: epoch,
  streams: stream,
  snapshots: snapshot,
  losses: loss,
  acknowledgements: acknowledgement,
  erasures: erasure,
  marks: mark,
  holds: hold,
  pruned,
  condemned,
  repairs: repair,
  forgotten: heads,
}

const ledgerEntry: Check = (value) =>
  shaped({}, sections)(value) &&
  Object.keys(value as object).length === 1 &&
  Object.keys(value as object).every((name) => Object.hasOwn(sections, name))

const file = {
  key: matching(/^node\/[0-9]{12}-[0-9a-f]{8}\.json$/),
  sha256: hash,
  height: wholeFrom(0, 20),
  width: positive,
}
const treeNode = shaped(file)
const indexNode = shaped({
  ...file,
  firstUlid: ulid,
  lastUlid: ulid,
  segments: positive,
  events: count,
  bytes: positive,
})

/** Absent where there is none. */
const OPTIONAL: readonly string[] = ['repairs', 'forgotten', 'marks', 'holds', 'pruned', 'condemned']

const lists = (isOptional: boolean): Readonly<Record<string, Check>> =>
  Object.fromEntries(
    Object.entries(sections)
      .filter(([name]) => OPTIONAL.includes(name) === isOptional)
      .map(([name, check]) => [name, listOf(check, isOptional ? 1 : 0)]),
  )

const root = shaped(
  {
    ...lists(false),
    ledger: listOf(treeNode),
    segments: shaped({ nodes: listOf(indexNode), tail: listOf(segment) }),
  },
  lists(true),
)

/** Whether a value can be worked with as the entry of a stream. */
export function isStreamEntry(value: unknown): value is StreamEntry {
  return stream(value)
}

/** Whether values can be worked with as segments of a timeline. */
export function areSegments(values: readonly unknown[]): values is readonly SegmentEntry[] {
  return values.every(segment)
}

/** Whether a value can be worked with as a node of a tree. */
export function isTreeNode(value: unknown): value is TreeNode {
  return treeNode(value)
}

/** Whether a value can be worked with as a node that has segments below it. */
export function isIndexNode(value: unknown): value is IndexNode {
  return indexNode(value)
}

/** Whether a value is one that stands in a node of the ledger. */
export function isLedgerEntry(value: unknown): boolean {
  return ledgerEntry(value)
}

/** Whether a value can be worked with as what stands in the file of a generation. */
export function isRoot(value: unknown): boolean {
  return root(value)
}
