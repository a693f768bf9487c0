import { must, u64, utf8Order } from './bytes.ts'

export const KINDS = ['schema', 'object', 'record'] as const
export type Kind = (typeof KINDS)[number]
const OPERATIONS = ['insert', 'update', 'delete'] as const

export interface Image {
  json: string
  raw: Uint8Array | null
}

export interface Item {
  kind: Kind
  resource: string
  id: string
}

export interface Event extends Item {
  ulid: string
  stream: string
  sequence: number
  operation: (typeof OPERATIONS)[number]
  /** Actor, transaction, metadata. */
  context: [string | null, string | null, string | null]
  before: Image | null
  after: Image | null
}

/** An event as in a journal frame (5). */
export function encodeEvent(event: Event): Buffer {
  const { kind, resource, id, ulid, sequence, operation, context, before, after } = event
  const images = [before?.json ?? null, before?.raw ?? null, after?.json ?? null, after?.raw ?? null]
  const fields = [resource, id, ...context, ...images].map((one) => (one === null ? null : Buffer.from(one)))
  const head = Buffer.alloc(78)
  head.writeUInt8(KINDS.indexOf(kind), 4)
  head.writeUInt8(OPERATIONS.indexOf(operation), 5)
  u64(sequence).copy(head, 8)
  head.write(ulid, 16, 'latin1')
  let present = 0
  for (const [i, field] of fields.entries()) {
    if (field !== null) present |= 1 << i
    head.writeUInt32LE(field?.length ?? 0, 42 + 4 * i)
  }
  head.writeUInt16LE(present, 6)
  const all = Buffer.concat([head, ...fields.map((field) => field ?? Buffer.alloc(0))])
  all.writeUInt32LE(all.length - 4, 0)
  return all
}

/** The fields behind the head of an event or an intent; absent ones are null. */
export function fieldsOf(bytes: Buffer, present: number, lengthsAt: number, count: number): (Buffer | null)[] {
  let at = lengthsAt + 4 * count
  const fields = Array.from({ length: count }, (_, i) => {
    const length = bytes.readUInt32LE(lengthsAt + 4 * i)
    const field = bytes.subarray(at, at + length)
    at += length
    return present & (1 << i) ? field : null
  })
  must(at === bytes.length, 'fields that do not add up')
  return fields
}

/** An event of a stream, from its bytes in a frame. */
export function decodeEvent(bytes: Buffer, stream: string): Event {
  const fields = fieldsOf(bytes, bytes.readUInt16LE(6), 42, 9)
  const [resource, id, actor, transaction, metadata, beforeJson] = fields.map((one) => one?.toString() ?? null)
  const image = (json: Buffer | null | undefined, raw: Buffer | null | undefined): Image | null => {
    return json == null ? null : { json: json.toString(), raw: raw ?? null }
  }
  must(beforeJson !== undefined, 'an event without its fields')
  return {
    kind: KINDS[bytes.readUInt8(4)] ?? 'record',
    resource: resource ?? '',
    id: id ?? '',
    ulid: bytes.toString('latin1', 16, 42),
    stream,
    sequence: Number(bytes.readBigUInt64LE(8)),
    operation: OPERATIONS[bytes.readUInt8(5)] ?? 'update',
    context: [actor ?? null, transaction ?? null, metadata ?? null],
    before: image(fields[5], fields[6]),
    after: image(fields[7], fields[8]),
  }
}

export function nameOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

/** Items as they stand in segments and snapshots (4). */
export function order(a: Item, b: Item): number {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || utf8Order(a.resource, b.resource) || utf8Order(a.id, b.id)
}
