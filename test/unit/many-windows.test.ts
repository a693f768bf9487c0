import { expect, test } from 'vitest'
import type { MergedSegment, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt, newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { compact } from '../../src/upkeep/compaction/compact.ts'
import type { RunRequest, WrittenRun } from '../../src/upkeep/compaction/write-run.ts'
import { SetClock } from '../support/kept-history.ts'
import { STREAM, segment, streamOf } from '../support/many-segments.ts'

const MINUTE = 60_000
/** Beginning of a window of every level. */
const BEGIN = 689 * 30 * 86_400_000
/** Of five minutes each, in days that are over. */
const WINDOWS = 288
const PER_WINDOW = 3
/** Some eighty entries: fewer than there are windows. */
const LOOKED_AT = 64 * 1024

/** A run of one file with the events of a request, without any file behind it. */
function runOf({ run, level, units }: RunRequest): WrittenRun {
  const merged = units.flat()
  const at = `segment/${run}/0${level}/`
  const index = { key: `${at}index-0123abcd.bin`, bytes: 4096, sha256: 'b'.repeat(64), rowGroups: 1 }
  const chain = { key: `${at}chain-0123abcd.json.gz`, bytes: 500, sha256: 'b'.repeat(64), index }
  const [firstUlid = ''] = merged.map((one) => one.firstUlid).sort()
  const [lastUlid = ''] = merged.map((one) => one.lastUlid).sort((a, b) => (a < b ? 1 : -1))
  const events = merged.reduce((sum, one) => sum + one.events, 0)
  const sizes = { events, bytes: 3000, sha256: 'b'.repeat(64), footer: { bytes: 900, crc32: 7 } }
  const file: MergedSegment = {
    ...{ key: `${at}0000-0123abcd.parquet`, level, run: chain, firstUlid, lastUlid },
    ...sizes,
  }
  return { replaced: merged.map(({ key }) => key), files: [file] }
}

/** Merges very many windows; what was merged, and the most bytes of nodes that were kept at a merge. */
async function mergedWindows(): Promise<{ readonly requests: readonly RunRequest[]; readonly kept: number }> {
  const store = new MemoryStore()
  const timeline = await TimelineLog.open(store)
  const snapshot = { ulid: STREAM, consistentFrom: STREAM, prefix: `snapshot/${STREAM}/`, records: 1, bytes: 1 }
  const addSegments = Array.from({ length: WINDOWS * PER_WINDOW }, (_, n): StreamSegment => {
    const from = BEGIN + Math.floor(n / PER_WINDOW) * 5 * MINUTE + (n % PER_WINDOW) * MINUTE
    return { ...segment(n), firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + 10) }
  })
  const last = addSegments.at(-1)?.lastUlid ?? ''
  const stream = { ...streamOf(addSegments.length), lastUlid: last, openedAt: STREAM }
  const putStreams = [{ ...stream, sealedThrough: firstUlidAt(BEGIN + WINDOWS * 5 * MINUTE) }]
  const addSnapshots = [{ ...snapshot, manifestSha256: 'a'.repeat(64) }]
  await timeline.commit(() => ({ addSnapshots, addSegments, putStreams }))
  const clock = new SetClock()
  clock.set(BEGIN + WINDOWS * 5 * MINUTE)
  const requests: RunRequest[] = []
  let kept = 0
  const write = async (request: RunRequest): Promise<WrittenRun> => {
    requests.push(request)
    kept = Math.max(kept, timeline.nodes.segments.keptBytes)
    return runOf({ ...request, run: newUlid(BEGIN) })
  }
  await compact({ store, timeline, clock, memory: 1, lookedAtBytes: LOOKED_AT, write }, { graceMs: 3_600_000 })
  return { requests, kept }
}

test('a window is merged as a whole however many there are, and nodes that were replaced are not kept', async () => {
  const { requests, kept } = await mergedWindows()
  const sizes = Map.groupBy(requests, ({ level, units }) => `${level}: ${units.length}`)
  expect(Object.fromEntries([...sizes].map(([size, { length }]) => [size, length]))).toEqual({
    [`1: ${PER_WINDOW}`]: WINDOWS,
    '2: 12': WINDOWS / 12,
    '3: 24': WINDOWS / 288,
  })
  // What the catalogue had at first has some 400,000.
  expect(kept).toBeGreaterThan(100_000)
  expect(kept).toBeLessThan(600_000)
})
