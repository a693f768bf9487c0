import { type Change, changeBetween, type Image, NO_CONTEXT } from '../../src/model/event.ts'
import { type Ulid, UlidGenerator, ulidTime } from '../../src/model/ulid.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { encodeStored } from '../../src/s3db/stored-object.ts'
import type { Chunk } from './dataset.ts'

/** A database of records of one size, and the same again as s3db.js stores it. */
export interface LargeDatabase {
  readonly records: number
  readonly events: number
  /** Events in one segment. */
  readonly chunk: number
  /** Of the JSON of a record. */
  readonly recordBytes: number
}

const RESOURCE = 'users'
const BATCH_BYTES = 4 * 1024 * 1024

/** The schema, then the records in order. */
export function* firstStates({ records, recordBytes }: LargeDatabase): Generator<readonly ItemState[]> {
  const schema = { json: Buffer.from('{"attributes":{"name":"string"}}'), raw: null }
  yield [{ kind: 'schema', resource: RESOURCE, id: '', image: schema }]
  const batch = Math.max(1, Math.min(1000, Math.floor(BATCH_BYTES / recordBytes)))
  for (let first = 0; first < records; first += batch) {
    yield Array.from({ length: Math.min(batch, records - first) }, (_, i) => stateOf(first + i, 0, recordBytes))
  }
}

/** Updates of records all over the database, in chunks; every record's chain is unbroken. */
export function* laterChunks({ records, events, chunk, recordBytes }: LargeDatabase, start: Ulid): Generator<Chunk> {
  const versions = new Uint32Array(records)
  let now = ulidTime(start) + 1
  const ulids = new UlidGenerator(() => now, new Uint8Array(8))
  for (let first = 0; first < events; first += chunk) {
    const changes: Change[] = []
    let imageBytes = 0
    for (let event = first; event < Math.min(events, first + chunk); event++) {
      const number = Math.imul(event, 2_654_435_761) >>> 0
      const { kind, resource, id, image } = stateOf(number % records, versions[number % records] ?? 0, recordBytes)
      const version = (versions[number % records] ?? 0) + 1
      versions[number % records] = version
      const change = changeBetween(
        { kind, resource, id },
        image,
        stateOf(number % records, version, recordBytes).image,
        NO_CONTEXT,
      )
      if (change !== null) changes.push(change)
      imageBytes += 2 * image.json.length
    }
    now++
    yield { changes, ulids: changes.map(() => ulids.next()), firstSequence: first + 1, imageBytes }
  }
}

function stateOf(number: number, version: number, bytes: number): ItemState {
  const id = `u${String(number).padStart(9, '0')}`
  return { kind: 'record', resource: RESOURCE, id, image: imageOf(id, number, version, bytes) }
}

function imageOf(id: string, number: number, version: number, bytes: number): Image {
  const json = { id, version, text: '' }
  json.text = textOf(number * 31 + version, Math.max(0, bytes - JSON.stringify(json).length))
  const metadata: [string, string][] = [
    ['_v', 'v1'],
    ['text', json.text],
    ['version', String(version)],
  ]
  const raw = encodeStored({ metadata, body: '', contentType: 'application/json', contentEncoding: null })
  return { json: Buffer.from(JSON.stringify(json)), raw }
}

const HARD_BYTES = 256 * 1024
const REPEATED_BYTES = 8 * 1024
let hard = ''

/** A text of its own for each `seed`: its first 256 KiB about as hard to compress as prose, the rest repeated. */
function textOf(seed: number, length: number): string {
  for (let i = 0; hard.length < 2 * HARD_BYTES; i++) hard += ` ${Math.imul(i + 1, 2_246_822_519) >>> 0} of the order`
  const start = (Math.imul(seed, 2_654_435_761) >>> 0) % HARD_BYTES
  const own = hard.slice(start, start + Math.min(length, HARD_BYTES))
  return (
    own +
    own
      .slice(0, REPEATED_BYTES)
      .repeat(Math.ceil((length - own.length) / REPEATED_BYTES))
      .slice(0, length - own.length)
  )
}
