import { sha256 } from '../../base/bytes.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import { decodeHead } from '../../format/timeline-codec.ts'
import { type Inspection, wrongHash } from './inspection.ts'

/**
 * Checks every generation of the timeline from the first to `latest`, and that each names the hash of the one before.
 * `read` gives the file of a key.
 */
export async function verifyGenerations(
  inspection: Inspection,
  keys: Iterable<string>,
  latest: number,
  read: (key: string) => Promise<Uint8Array>,
): Promise<void> {
  const found = [...keys].map(parseTimelineKey).filter((generation) => generation !== null)
  found.sort((a, b) => a - b)
  /** Of the generation before; null where it is damaged, and says nothing about the one that names it. */
  let previous: string | null = null
  let next = 1
  for (const generation of found) {
    const key = timelineKey(generation)
    if (generation > next) inspection.hole(next, generation, timelineKey)
    const before = generation > next ? null : previous
    previous = null
    next = generation + 1
    await inspection.guard(key, async () => {
      const bytes = await inspection.read(key)
      const members = unsealJson(bytes)
      if (members !== null) previous = sha256(bytes)
      await decodeHead(generation, (wanted) =>
        wanted === generation ? Promise.resolve(bytes) : read(timelineKey(wanted)),
      )
      if (before !== null && members?.previous !== before) throw wrongHash(timelineKey(generation - 1))
    })
  }
  if (latest >= next) inspection.hole(next, latest + 1, timelineKey)
}
