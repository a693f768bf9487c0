import { crc32, sha256 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { parseSegmentKey } from '../../format/keys.ts'
import { chainStart, chainValue } from '../../format/segment/chain.ts'
import { footerLength, TRAILER_BYTES } from '../../format/segment/footer.ts'
import { openSegment, type SegmentReader } from '../../format/segment/read.ts'
import type { SegmentFile, StreamEntry, StreamSegment } from '../../model/timeline.ts'
import { isUlid } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import type { SegmentPart } from '../run-chains.ts'
import { checkEvents } from '../segment-check.ts'

/** A segment that no timeline names, and that is whole by what it says of itself. */
export interface FoundSegment {
  readonly entry: StreamSegment
  /** Events of it that were erased. */
  readonly erased: number
}

/** Reads a segment by itself, to the last event; null where it is damaged, or none. Errors: those of the store. */
export async function readFound(store: ObjectStore, key: string): Promise<FoundSegment | null> {
  const name = parseSegmentKey(key)
  if (name === null || !isUlid(name.stream)) return null
  try {
    const { reader, file } = await openWhole(key, await store.get(key))
    const { info } = reader
    if (!('stream' in info)) return null
    const isNamed = (['stream', 'level', 'firstSequence', 'lastSequence'] as const).every((n) => info[n] === name[n])
    if (!isNamed) return null
    const chain = reader.chain()
    const entry = { ...info, ...file, chain: { previous: chain.previous, value: chainValue(chain) } }
    await checkEvents(reader, entry)
    return { entry, erased: chain.erased.length }
  } catch (error) {
    if (error instanceof TidemarkError && error.category === 'corrupt') return null
    throw error
  }
}

/** A segment whose bytes are there, and what a timeline would say of it as a file. Errors: `SEGMENT_CORRUPT`. */
export async function openWhole(
  key: string,
  bytes: Uint8Array,
): Promise<{
  readonly reader: SegmentReader
  readonly file: Pick<SegmentFile, 'key' | 'bytes' | 'sha256' | 'footer' | 'filter'>
}> {
  const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
  const reader = await openSegment({ name: key, bytes: bytes.length, footer: null, read })
  const footer = bytes.subarray(-footerLength(bytes.subarray(-TRAILER_BYTES), bytes.length))
  const about = { bytes: footer.length, crc32: crc32(footer) }
  const { filter } = reader
  const file = { key, bytes: bytes.length, sha256: sha256(bytes), footer: about }
  return { reader, file: filter === undefined ? file : { ...file, filter } }
}

/**
 * Of the segments that were found of a stream, those that fit among the `named` ones: each follows the one before it in the
 * hash chain, and no sequence is there twice. Where several follow (an attempt that failed, a file from before an
 * erasure), the one that another goes on from is taken, then the longest, then the one with the most erased.
 */
export function fitting(
  stream: Pick<StreamEntry, 'id' | 'lastSequence' | 'chain'>,
  named: readonly SegmentPart[],
  found: readonly FoundSegment[],
): readonly FoundSegment[] {
  const chosen: FoundSegment[] = []
  const rest = named.toSorted(bySequence)
  const values = new Set([...named, ...found.map(({ entry }) => entry)].map(({ chain }) => chain.previous))
  const candidates = found.toSorted((a, b) => bySequence(a.entry, b.entry) || rank(b, values) - rank(a, values))
  let end = { sequence: 0, value: chainStart(stream.id) }
  for (let from = 0; ; ) {
    const next = rest[0]
    // What begins before the end fits nowhere any more: the search does not begin at the first one each time.
    while ((candidates[from]?.entry.firstSequence ?? Number.POSITIVE_INFINITY) <= end.sequence) from++
    const fits = ({ entry }: FoundSegment): boolean => endsAs(stream, entry) && fitsBetween(entry, end, next)
    const one = next?.firstSequence === end.sequence + 1 ? undefined : findFrom(candidates, from, fits)
    if (one !== undefined) chosen.push(one)
    else if (next === undefined) return chosen
    else rest.shift()
    const { lastSequence, chain } = one?.entry ?? next ?? { lastSequence: end.sequence, chain: { value: end.value } }
    end = { sequence: Math.max(end.sequence, lastSequence), value: chain.value }
  }
}

function findFrom<T>(items: readonly T[], from: number, fits: (item: T) => boolean): T | undefined {
  for (let at = from; at < items.length; at++) {
    const item = items[at]
    if (item !== undefined && fits(item)) return item
  }
  return undefined
}

/** Where the timeline knows the chain, nothing else is its end. */
function endsAs({ lastSequence, chain }: Pick<StreamEntry, 'lastSequence' | 'chain'>, entry: StreamSegment): boolean {
  return entry.lastSequence !== lastSequence || entry.chain.value === chain
}

/** What is behind a hole follows what nobody knows. */
function fitsBetween(
  { firstSequence, lastSequence, chain }: StreamSegment,
  end: { readonly sequence: number; readonly value: string },
  next: SegmentPart | undefined,
): boolean {
  if (firstSequence <= end.sequence) return false
  if (firstSequence === end.sequence + 1 && chain.previous !== end.value) return false
  if (next === undefined || lastSequence < next.firstSequence - 1) return true
  return lastSequence === next.firstSequence - 1 && chain.value === next.chain.previous
}

function rank({ entry, erased }: FoundSegment, previous: ReadonlySet<string>): number {
  const events = entry.lastSequence - entry.firstSequence + 1
  return (previous.has(entry.chain.value) ? 2 ** 50 : 0) + events * 2 ** 20 + Math.min(erased, 2 ** 20 - 1)
}

function bySequence(a: SegmentPart, b: SegmentPart): number {
  return a.firstSequence - b.firstSequence
}
