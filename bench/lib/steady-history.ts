import { type Change, changeBetween, type Image, NO_CONTEXT } from '../../src/model/event.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { Chunk } from './dataset.ts'

/** An application that writes at a steady rate: a segment of so many events each `everyMs`. */
export interface SteadyHistory {
  readonly segments: number
  readonly events: number
  readonly records: number
  readonly beginMs: number
  readonly everyMs: number
}

/** Of all records. */
export const RESOURCE = 'users'

/** Records of a batch. */
const BATCH = 1000

/** Ids of records, in their order. */
export function steadyId(number: number): string {
  return `u${String(number).padStart(7, '0')}`
}

/** The record that an event is about, by their numbers from 0. */
export function steadyNumber(event: number, records: number): number {
  return (event * 7919) % records
}

function imageOf(number: number, version: number): Image {
  return { json: Buffer.from(JSON.stringify({ id: steadyId(number), version, text: 'x'.repeat(200) })), raw: null }
}

/** What there is before the first event, in batches: the schema, and all records. */
export function* steadyStates(records: number): Generator<readonly ItemState[]> {
  const schema = { json: Buffer.from('{"attributes":{"text":"string"}}'), raw: null }
  yield [{ kind: 'schema', resource: RESOURCE, id: '', image: schema }]
  for (let first = 0; first < records; first += BATCH) {
    yield Array.from({ length: Math.min(BATCH, records - first) }, (_, n): ItemState => {
      return { kind: 'record', resource: RESOURCE, id: steadyId(first + n), image: imageOf(first + n, 0) }
    })
  }
}

/** Updates of records all over the database, one segment after the other. */
export function* steadyChunks({ segments, events, records, beginMs, everyMs }: SteadyHistory): Generator<Chunk> {
  const versions = new Map<number, number>()
  let now = beginMs + 1
  const ulids = new UlidGenerator(() => now, new Uint8Array(8))
  for (let segment = 0; segment < segments; segment++) {
    now = beginMs + 1 + Math.floor(segment * everyMs)
    const changes: Change[] = []
    for (let n = segment * events; n < (segment + 1) * events; n++) {
      const number = steadyNumber(n, records)
      const version = versions.get(number) ?? 0
      versions.set(number, version + 1)
      const item = { kind: 'record', resource: RESOURCE, id: steadyId(number) } as const
      const change = changeBetween(item, imageOf(number, version), imageOf(number, version + 1), NO_CONTEXT)
      if (change !== null) changes.push(change)
    }
    yield { changes, ulids: changes.map(() => ulids.next()), firstSequence: segment * events + 1, imageBytes: 0 }
  }
}
