import { gunzipSync, gzipSync } from 'node:zlib'
import { LIMITS } from '../../base/limits.ts'
import type { SealedRange } from '../../model/timeline.ts'
import { isUlid, type Ulid } from '../../model/ulid.ts'
import { sealJsonList, unsealJson } from '../sealed-json.ts'
import { chainJson, parseChain, type SegmentChain } from './chain.ts'
import { decoding, expect, Malformed } from './corrupt.ts'

/*
 * The chain file of a run: what the segments that were merged knew of the hash chains of their streams, as each of them had
 * it. A gzip member of a JSON file with a checksum:
 *
 *   {"sha256":"…","format":1,"run":"<ulid>","level":1,"erasures":0,"chains":[["<stream>",<first sequence>,<last sequence>,
 *   "<first ULID>","<last ULID>",<chain>],…]}
 *
 * in the order of the streams and sequences. The chain is what `tidemark.chain` is in a segment of level 0.
 */
const FORMAT = 1

/** The chain of a segment that was merged, and what it is of. */
export interface PartChain extends SealedRange {
  readonly stream: string
  readonly chain: SegmentChain
}

/** What is known of the hash chains of the events of a run. */
export interface RunChain {
  readonly run: Ulid
  readonly level: number
  /** How many erasures the timeline had: nothing that one of these took out is in the run. */
  readonly erasures: number
  /** By stream and sequence. */
  readonly chains: readonly PartChain[]
}

/** Order of the parts of a run. */
export function compareParts(a: PartChain, b: PartChain): number {
  if (a.stream !== b.stream) return a.stream < b.stream ? -1 : 1
  return a.firstSequence - b.firstSequence
}

/** How many sequences the parts have, erased ones included. */
export function sequencesOf(chains: readonly PartChain[]): number {
  return chains.reduce((sum, { firstSequence, lastSequence }) => sum + lastSequence - firstSequence + 1, 0)
}

/** The bytes of a chain file. */
export function encodeRunChain({ run, level, erasures, chains }: RunChain): Uint8Array {
  return gzipSync(sealJsonList({ format: FORMAT, run, level, erasures }, 'chains', new ListedChains(chains)))
}

/** Chains as they stand in a file, made as they are asked for: there can be a hundred thousand. */
class ListedChains implements Iterable<unknown> {
  readonly #chains: readonly PartChain[]

  constructor(chains: readonly PartChain[]) {
    this.#chains = chains
  }

  *[Symbol.iterator](): Iterator<unknown> {
    for (const { stream, firstSequence, lastSequence, firstUlid, lastUlid, chain } of this.#chains)
      yield [stream, firstSequence, lastSequence, firstUlid, lastUlid, chainJson(chain)]
  }
}

/** What a chain file says; `name` is for messages. Errors: `SEGMENT_CORRUPT`. */
export function decodeRunChain(name: string, bytes: Uint8Array): RunChain {
  return decoding(name, () => {
    const members = unsealJson(inflate(bytes))
    expect(members !== null, 'its checksum is wrong')
    const { format, run, level, erasures, chains } = members
    expect(format === FORMAT, `its format is not ${FORMAT}`)
    expect(typeof run === 'string' && isUlid(run) && isCount(level) && isCount(erasures), 'it names no run')
    expect(Array.isArray(chains) && chains.length > 0, 'it has no chains')
    const parts: PartChain[] = []
    for (const row of chains) parts.push(partChain(row, parts.at(-1)))
    const inOrder = parts.every((part, i) => {
      const before = parts[i - 1]
      return before === undefined || before.stream < part.stream || isBehind(before, part)
    })
    expect(inOrder, 'its chains are not in order')
    expect(sequencesOf(parts) <= LIMITS.runEvents, 'it has more events than a run can have')
    return { run, level, erasures, chains: parts }
  })
}

function isBehind(before: PartChain, part: PartChain): boolean {
  return before.stream === part.stream && before.lastSequence < part.firstSequence
}

/** There can be a hundred thousand of these: texts that are those of the one before it are not kept twice. */
function partChain(row: unknown, before: PartChain | undefined): PartChain {
  expect(Array.isArray(row) && row.length === 6, 'one of its chains is malformed')
  const [stream, firstSequence, lastSequence, firstUlid, lastUlid, value]: readonly unknown[] = row
  expect(typeof stream === 'string' && isUlid(stream), 'a stream of its chains is none')
  expect(isCount(firstSequence) && isCount(lastSequence), 'the sequences of its chains are not numbers')
  expect(firstSequence > 0 && firstSequence <= lastSequence, 'the sequences of its chains are impossible')
  expect(typeof firstUlid === 'string' && isUlid(firstUlid), 'the first ULID of one of its chains is none')
  expect(typeof lastUlid === 'string' && isUlid(lastUlid), 'the last ULID of one of its chains is none')
  const chain = parseChain(value)
  expect(chain.links.at(-1)?.[0] === lastSequence, 'one of its chains ends elsewhere')
  const previous = sameText(chain.previous, before?.chain.links.at(-1)?.[1])
  const range = { firstSequence, lastSequence, firstUlid, lastUlid }
  return { stream: sameText(stream, before?.stream), ...range, chain: { ...chain, previous } }
}

function sameText(own: string, known: string | undefined): string {
  return own === known ? known : own
}

function inflate(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: LIMITS.jsonBytes })
  } catch (error) {
    throw new Malformed('it is no gzip member', { cause: error })
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
