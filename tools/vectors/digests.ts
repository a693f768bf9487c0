import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decryptStore } from '../../src/engine/decrypt.ts'
import { digestEvent } from '../../src/format/segment/chain.ts'
import { EVENT_COLUMNS, eventsOf } from '../../src/format/segment/events.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import type { StoreSpec } from '../../src/store/open.ts'

/** Stream, sequence, SHA-256. */
export type DigestRow = readonly [string, number, string]

/** The digest of every event in the segments of a store that is in a directory, also of those that were erased. */
export async function digestsOf(directory: string, spec: StoreSpec): Promise<DigestRow[]> {
  const clear = spec.encryption === undefined ? directory : `${directory}-decrypted`
  if (clear !== directory) await decryptStore(spec, `file:${clear}`, {})
  const paths = readdirSync(`${clear}/segment`, { recursive: true, encoding: 'utf8' })
  const rows: DigestRow[] = []
  for (const name of paths.filter((path) => path.endsWith('.parquet')))
    rows.push(...(await digestsIn(name, readFileSync(join(clear, 'segment', name)))))
  return rows.sort(([a, m], [b, n]) => (a === b ? m - n : a < b ? -1 : 1))
}

async function digestsIn(name: string, bytes: Uint8Array): Promise<DigestRow[]> {
  const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
  const reader = await openSegment({ name, bytes: bytes.length, footer: null, read })
  const { salts, erased } = reader.chain()
  if (!('stream' in reader.info)) throw new Error(`${name} was merged`)
  const { stream } = reader.info
  const rows = erased.map(({ sequence, digest }): DigestRow => [stream, sequence, digest])
  for (let i = 0; i < reader.rowGroups.length; i++) {
    for (const event of eventsOf(await reader.readRowGroup(i, EVENT_COLUMNS))) {
      const salt = salts.of(event.stamp.sequence)
      if (salt === null) throw new Error(`${name} has no salt for ${event.stamp.sequence}`)
      rows.push([stream, event.stamp.sequence, Buffer.from(digestEvent(salt, event)).toString('hex')])
    }
  }
  return rows
}
