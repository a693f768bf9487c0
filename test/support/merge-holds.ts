import { dataset, encodeChunk } from '../../bench/lib/dataset.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { type EncodedSegment, encodeSegment } from '../../src/format/segment/encode.ts'
import { openSegment, type SegmentReader } from '../../src/format/segment/read.ts'
import { decodeRunChain, encodeRunChain, type PartChain } from '../../src/format/segment/run-chain.ts'
import { GATHERED_BYTES, PairList } from '../../src/format/segment/run-index-pairs.ts'
import { Salts } from '../../src/format/segment/salts.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MergeInput } from '../../src/upkeep/compaction/merge-input.ts'
import { RunMemory } from '../../src/upkeep/compaction/run-memory.ts'
import { ChainCheck } from '../../src/upkeep/segment-check.ts'

/** A process that holds what a merge does, and prints how many bytes it holds at most and how many a merge counts for it. */
const RUN = firstUlidAt(1)
const [EVENTS, ROWS, INPUTS, PARTS, PAIRS] = [20_000, 200, 300, 4000, 140_000]

/** Bytes that are in use, garbage left out. */
async function held(): Promise<number> {
  // What one collection finds, another frees.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    globalThis.gc?.()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function segmentOf(events: number): EncodedSegment {
  for (const chunk of dataset({ events, chunk: events }))
    return encodeSegment(encodeChunk(chunk), { stream: RUN, level: 0, previous: chainStart(RUN), rowGroupRows: ROWS })
  throw new RangeError('no events')
}

/** The bytes of what is read come from elsewhere: each time they are others. */
function opened({ bytes, info }: EncodedSegment): Promise<SegmentReader> {
  const read = async (start: number, end: number): Promise<Uint8Array> => Uint8Array.from(bytes.subarray(start, end))
  return openSegment({ name: 'segment', bytes: bytes.length, footer: info.footer, read })
}

async function walked(input: MergeInput, look: () => Promise<void>): Promise<void> {
  for (let groups = 0; await input.load(); groups++) {
    do input.size()
    while (input.advance())
    if (groups % 5 === 0) await look()
  }
}

/** One input from its beginning to its end: a window of it has many row groups. */
async function walking(): Promise<readonly [number, number]> {
  const segment = segmentOf(EVENTS)
  await walked(new MergeInput([await opened(segment)]), async () => {})
  const before = await held()
  const reader = await opened(segment)
  let most = 0
  await walked(new MergeInput([reader]), async () => {
    most = Math.max(most, (await held()) - before)
  })
  return [most, MergeInput.bytes([reader])]
}

/** Many small inputs that stand on their first row. */
async function standing(): Promise<readonly [number, number]> {
  const segment = segmentOf(10)
  const before = await held()
  const inputs: MergeInput[] = []
  let counted = 0
  for (let i = 0; i < INPUTS; i++) {
    const reader = await opened(segment)
    const input = new MergeInput([reader])
    await input.load()
    inputs.push(input)
    counted += MergeInput.bytes([reader])
  }
  const most = (await held()) - before
  for (const input of inputs) await input.close()
  return [most, counted]
}

/** The chains of many small segments that were merged before, and the check of their events. */
async function checking(): Promise<readonly [number, number]> {
  const hash = (n: number): string => n.toString(16).padStart(64, '0')
  const parts = Array.from({ length: PARTS }, (_, n): PartChain => {
    const [firstSequence, lastSequence] = [2 * n + 1, 2 * n + 2]
    const chain = { previous: hash(n), links: [[lastSequence, hash(n + 1)]] as const, salts: Salts.fresh(), erased: [] }
    return { stream: RUN, firstSequence, lastSequence, firstUlid: RUN, lastUlid: RUN, chain }
  })
  const file = encodeRunChain({ run: RUN, level: 1, erasures: 0, chains: parts })
  parts.length = 0
  const before = await held()
  const { chains } = decodeRunChain('chain', file)
  const check = new ChainCheck('chain', chains)
  const most = (await held()) - before
  if (check.isComplete) throw new Error('no event was given')
  const needed = new RunMemory(0)
  needed.add(chains, 0)
  return [most, needed.bytes]
}

/** What is gathered for an index of many items. */
async function gathering(): Promise<readonly [number, number]> {
  const before = await held()
  const pairs = new PairList()
  // A little more than a power of two.
  for (let pair = 0; pair < PAIRS; pair++) pairs.push(pair, 0, pair)
  const most = (await held()) - before
  if (pairs.scale(1).since !== 0) throw new Error('the first pair is lost')
  return [most, GATHERED_BYTES * PAIRS]
}

const what = { walking, standing, checking, gathering }[process.argv[2] ?? '']
console.log(JSON.stringify(await what?.()))
