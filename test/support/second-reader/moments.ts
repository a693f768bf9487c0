import { must } from './bytes.ts'
import type { Snapshot, Stream, Timeline } from './timeline.ts'

type Sealed = NonNullable<Stream['sealed']>[number]

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

export interface Gap {
  stream: string
  firstSequence: number
  lastSequence: number | null
  afterUlid: string
  beforeUlid: string
  acknowledged: { reason: string; by: string; at: string } | null
}

/** A moment as an inclusive bound (4). */
export function boundOf(moment: number | string | { readonly before: string }): string {
  if (typeof moment === 'number') {
    let [text, rest] = ['', moment]
    for (let i = 0; i < 10; i++, rest = Math.floor(rest / 32)) text = ALPHABET.charAt(rest % 32) + text
    return text + 'Z'.repeat(16)
  }
  if (typeof moment === 'string') return `${moment.slice(0, 13)}${moment.charAt(13) < 'G' ? 'F' : 'Z'}${'Z'.repeat(12)}`
  const { before } = moment
  const digits = [...before.slice(0, 13), before.charAt(13) < 'G' ? '0' : 'G'].map((one) => ALPHABET.indexOf(one))
  let value = digits.reduce((sum, digit) => sum * 32n + BigInt(digit), 0n) * 32n ** 12n - 1n
  let text = ''
  for (let i = 0; i < 26; i++, value /= 32n) text = ALPHABET.charAt(Number(value % 32n)) + text
  return text
}

/** The 48 bits of milliseconds of a ULID. */
export function timeOf(ulid: string): number {
  return [...ulid.slice(0, 10)].reduce((sum, one) => sum * 32 + ALPHABET.indexOf(one), 0)
}

/** The least and the greatest moment that can be reached (4), as far as the timeline tells. */
export function reachOf({ streams, snapshots, segments }: Timeline): { earliest: string; latest: string } {
  const earliest = snapshots.map(({ consistentFrom }) => consistentFrom).sort()[0]
  must(earliest !== undefined, 'nothing can be reached')
  const open = streams.filter(({ state }) => state === 'open').map(({ sealedThrough }) => sealedThrough)
  if (open.length > 0) return { earliest, latest: open.sort()[0] ?? earliest }
  const stamps = [
    ...streams.flatMap(({ sealedThrough, lastUlid }) => [sealedThrough, lastUlid]),
    ...segments.map(({ lastUlid }) => lastUlid),
    ...snapshots.map(({ consistentFrom }) => consistentFrom),
  ]
  return { earliest, latest: stamps.sort().at(-1) ?? earliest }
}

/** Every gap (4), of one stream after the other, and then the losses. */
export function gapsOf(timeline: Timeline): Gap[] {
  const found = timeline.streams.flatMap((stream) => {
    const own = stream.sealed ?? wholeOf(stream)
    const shed = (stream.shed ?? []).map(
      ({ firstSequence, lastSequence, after, before }): Omit<Gap, 'acknowledged'> => {
        const beforeUlid = before ?? (stream.sealedThrough > after ? stream.sealedThrough : after)
        return { stream: stream.id, firstSequence, lastSequence, afterUlid: after, beforeUlid }
      },
    )
    const holes = holesOf(stream.lastSequence, own, shed)
    return [...shed, ...holes.map((hole) => bounded(hole, stream, own))].sort(
      (a, b) => a.firstSequence - b.firstSequence,
    )
  })
  const losses = timeline.losses.map(({ stream, firstSequence, after, through }) => {
    return { stream, firstSequence, lastSequence: null, afterUlid: after, beforeUlid: through }
  })
  return [...found, ...losses].map((gap) => ({ ...gap, acknowledged: acknowledgementOf(gap, timeline) }))
}

/** Of a stream that says of nothing that it is missing. */
function wholeOf({ lastSequence, openedAt, lastUlid }: Stream): Sealed[] {
  return lastSequence === 0 ? [] : [{ firstSequence: 1, lastSequence, firstUlid: openedAt, lastUlid }]
}

interface Hole {
  first: number
  last: number
}

function holesOf(last: number, segments: Sealed[], shed: Omit<Gap, 'acknowledged'>[]): Hole[] {
  const missing = Array.from({ length: last }, (_, i) => i + 1).filter((n) =>
    [...segments, ...shed].every(({ firstSequence, lastSequence }) => n < firstSequence || n > Number(lastSequence)),
  )
  const holes: Hole[] = []
  for (const n of missing) {
    const hole = holes.at(-1)
    if (hole?.last === n - 1) hole.last = n
    else holes.push({ first: n, last: n })
  }
  return holes
}

/** What is known on either side of a hole says when its events happened. */
function bounded(
  { first, last }: Hole,
  { id, openedAt, sealedThrough, shed = [] }: Timeline['streams'][number],
  segments: Sealed[],
): Omit<Gap, 'acknowledged'> {
  const known = [
    ...segments.map(
      ({ firstSequence, lastSequence, firstUlid, lastUlid }) =>
        [firstSequence, lastSequence, firstUlid, lastUlid] as const,
    ),
    ...shed.map(
      ({ firstSequence, lastSequence, after, before }) =>
        [firstSequence, lastSequence, after, before ?? after] as const,
    ),
  ].sort(([a], [b]) => a - b)
  const afterUlid = known.findLast(([, end]) => end < first)?.[3] ?? openedAt
  const beforeUlid = known.find(([start]) => start > last)?.[2] ?? sealedThrough
  return { stream: id, firstSequence: first, lastSequence: last, afterUlid, beforeUlid }
}

function acknowledgementOf(gap: Omit<Gap, 'acknowledged'>, timeline: Timeline): Gap['acknowledged'] {
  const found = timeline.acknowledgements.find((one) => {
    if (one.stream !== gap.stream) return false
    if (gap.lastSequence === null)
      return one.lastSequence === null && one.firstSequence === gap.firstSequence && one.at >= gap.beforeUlid
    return one.lastSequence !== null && one.firstSequence <= gap.firstSequence && one.lastSequence >= gap.lastSequence
  })
  return found === undefined ? null : { reason: found.reason, by: found.by, at: found.at }
}

/** The snapshot that a state is made from (8); null where a gap that nobody has acknowledged touches it. */
export function startOf(timeline: Timeline, bound: string): Snapshot | null {
  const gaps = gapsOf(timeline)
  const { pruned = [] } = timeline
  const starts = timeline.snapshots
    .filter(({ consistentFrom }) => consistentFrom <= bound)
    .filter(({ consistentFrom }) => pruned.every(({ from, through }) => through < consistentFrom || from > bound))
    .map((snapshot) => {
      const touching = gaps.filter(({ afterUlid, beforeUlid }) => afterUlid < bound && beforeUlid > snapshot.ulid)
      const inside = (snapshot.except ?? []).map((gap) => acknowledgementOf(gap, timeline))
      return { snapshot, touching: [...touching.map(({ acknowledged }) => acknowledged), ...inside] }
    })
  const whole = starts.filter(({ touching }) => touching.length === 0).at(-1)
  const known = starts.filter(({ touching }) => touching.every((one) => one !== null)).at(-1)
  return whole?.snapshot ?? known?.snapshot ?? null
}
