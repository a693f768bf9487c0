import { chainStart } from '../../src/format/segment/chain.ts'
import type { StreamEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'

const START = 1_760_000_000_000
/** The stream that they are of. */
export const STREAM: string = firstUlidAt(START)

const digits = (n: number): string => String(n).padStart(16, '0')
const hash = (n: number): string => n.toString(16).padStart(64, '0')

/** The n-th segment of a stream, from 0: ten events, one each millisecond. No file is behind it. */
export function segment(n: number, stream: string = STREAM): StreamSegment {
  const [first, last] = [n * 10 + 1, n * 10 + 10]
  return {
    key: `segment/${stream}/00/${digits(first)}-${digits(last)}-0123abcd.parquet`,
    ...{ level: 0, stream, firstSequence: first, lastSequence: last, events: 10, bytes: 3000 },
    ...{ firstUlid: firstUlidAt(START + first), lastUlid: firstUlidAt(START + last) },
    sha256: hash(n + 7),
    footer: { bytes: 900, crc32: 7 },
    chain: { previous: n === 0 ? chainStart(stream) : hash(n - 1), value: hash(n) },
  }
}

/** So many of them, one behind the other. */
export function segments(count: number, from = 0): StreamSegment[] {
  return Array.from({ length: count }, (_, i) => segment(from + i))
}

/** Their stream, with so many of them. */
export function streamOf(count: number, state: StreamEntry['state'] = 'open', id: string = STREAM): StreamEntry {
  const last = segment(count - 1, id)
  return {
    ...{ id, state, host: 'h', pid: 1, journal: { kind: 'memory' }, openedAt: id, owner: '0123456789abcdef' },
    ...{
      sealedThrough: last.lastUlid,
      lastSequence: last.lastSequence,
      lastUlid: last.lastUlid,
      chain: last.chain.value,
    },
  }
}
