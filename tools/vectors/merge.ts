import { newUlid } from '../../src/model/ulid.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachSegment } from '../../src/timeline/segments.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'

/** So few bytes that the run has several files. */
const FILE_BYTES = 1500

/** Merges all segments of a store but the last into a run. */
export async function mergeSegments(directory: string, nowMs: number): Promise<void> {
  const store = new FilesystemStore(directory)
  const log = await TimelineLog.open(store)
  const entries = []
  for await (const entry of eachSegment(log.nodes.segments, log.timeline.segments)) entries.push(entry)
  entries.sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
  const units = entries.slice(0, -1).map((entry) => [entry])
  const request = { run: newUlid(nowMs), level: 1, erasures: 0, units, memory: 2 ** 30, fileBytes: FILE_BYTES }
  const { replaced, files } = await writeRun(store, request, () => {})
  await log.commit(() => ({ merge: { replaced, by: files } }))
}
