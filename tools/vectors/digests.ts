import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decryptStore } from '../../src/engine/decrypt.ts'
import { digestEvent } from '../../src/format/segment/chain.ts'
import { EVENT_COLUMNS, eventsOf } from '../../src/format/segment/events.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import { decodeRunChain, type PartChain } from '../../src/format/segment/run-chain.ts'
import type { StoreSpec } from '../../src/store/open.ts'

/** Stream, sequence, SHA-256. */
export type DigestRow = readonly [string, number, string]

/** The digest of every event in the segments of a store that is in a directory, also of those that were erased. */
export async function digestsOf(directory: string, spec: StoreSpec): Promise<DigestRow[]> {
  const clear = spec.encryption === undefined ? directory : `${directory}-decrypted`
  if (clear !== directory) await decryptStore(spec, `file:${clear}`, {})
  const paths = readdirSync(`${clear}/segment`, { recursive: true, encoding: 'utf8' })
  const bytesOf = (name: string): Uint8Array => readFileSync(join(clear, 'segment', name))
  const merged = paths.filter((path) => path.endsWith('.json.gz')).flatMap((name) => partsIn(name, bytesOf(name)))
  const rows = erasedIn(merged)
  for (const name of paths.filter((path) => path.endsWith('.parquet')))
    rows.push(...(await digestsIn(name, bytesOf(name), merged)))
  return rows.sort(([a, m], [b, n]) => (a === b ? m - n : a < b ? -1 : 1))
}

/** Events of a stream and how they were salted. */
type Part = Pick<PartChain, 'stream' | 'firstSequence' | 'lastSequence' | 'chain'>

function partsIn(name: string, bytes: Uint8Array): readonly Part[] {
  return decodeRunChain(name, bytes).chains
}

function erasedIn(parts: readonly Part[]): DigestRow[] {
  return parts.flatMap(({ stream, chain }) =>
    chain.erased.map(({ sequence, digest }): DigestRow => [stream, sequence, digest]),
  )
}

async function digestsIn(name: string, bytes: Uint8Array, merged: readonly Part[]): Promise<DigestRow[]> {
  const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
  const reader = await openSegment({ name, bytes: bytes.length, footer: null, read })
  const { info } = reader
  const own: readonly Part[] = 'stream' in info ? [{ ...info, chain: reader.chain() }] : []
  const parts = 'stream' in info ? own : merged
  const rows = erasedIn(own)
  for (let i = 0; i < reader.rowGroups.length; i++) {
    for (const event of eventsOf(await reader.readRowGroup(i, EVENT_COLUMNS))) {
      const { stream, sequence } = event.stamp
      const part = parts.find(
        (one) => one.stream === stream && one.firstSequence <= sequence && one.lastSequence >= sequence,
      )
      const salt = part?.chain.salts.of(sequence) ?? null
      if (salt === null) throw new Error(`${name} has no salt for ${sequence}`)
      rows.push([stream, sequence, Buffer.from(digestEvent(salt, event)).toString('hex')])
    }
  }
  return rows
}
