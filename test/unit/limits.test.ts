import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { readableJson } from '../../src/format/bounded-json.ts'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { decodeManifest, encodeManifest } from '../../src/format/manifest.ts'
import { Keyring } from '../../src/format/record-keys/keyring.ts'
import { sealEvents } from '../../src/format/record-keys/seal-events.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { type Change, NO_CONTEXT } from '../../src/model/event.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { LEVELS, MemberFile } from '../../src/restore/members.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { MemoryStore } from '../../src/store/memory.ts'

const STREAM = firstUlidAt(1_760_000_000_000)
const before = { ...LIMITS }
const limits: { -readonly [limit in keyof typeof LIMITS]: number } = LIMITS
const { jsonDepth } = LIMITS

afterEach(() => {
  Object.assign(limits, before)
})

test('a file that is nested deeper than any reader takes is not written', () => {
  const nested = (depth: number): Uint8Array => Buffer.from('['.repeat(depth) + ']'.repeat(depth))
  expect(readableJson(nested(jsonDepth), 'It').length).toBe(2 * jsonDepth)
  expect(() => readableJson(nested(jsonDepth + 1), 'It')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
})

test('a record that no reader could inflate again is not written into a snapshot', async () => {
  limits.memberBytes = 600_000
  const file = new MemberFile(LEVELS.kept)
  await file.add('a', [Buffer.alloc(500_000)])
  await expect(file.add('b', [Buffer.alloc(200_000)])).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  file.abandon()
})

test('an image that is sealed with both of its parts is taken by whoever encodes it', () => {
  Object.assign(limits, { imageBytes: 100_000, fieldBytes: 200_064 })
  const part = (): Uint8Array => randomBytes(99_000)
  const change: Change = {
    ...{ kind: 'record', resource: 'r', id: 'x', context: NO_CONTEXT, operation: 'insert' },
    before: null,
    after: { json: part(), raw: part() },
  }
  const event = Buffer.alloc(encodedEventBytes(change))
  encodeEvent(event, 0, change, firstUlidAt(1), 1)
  const columns = new EventColumns()
  columns.append(STREAM, Buffer.from(sealEvents(Keyring.create(STREAM), event)))
  expect(columns.bytes).toBeGreaterThan(198_000)
  limits.fieldBytes = 198_000
  expect(() => new EventColumns().append(STREAM, Buffer.from(sealEvents(Keyring.create(STREAM), event)))).toThrow()
})

test('an object that no reader takes is not stored, wherever the store is', async () => {
  limits.objectBytes = 1000
  const directory = mkdtempSync(join(tmpdir(), 'limits-'))
  for (const store of [new MemoryStore(), new FilesystemStore(directory)]) {
    await store.put('fits', new Uint8Array(1000))
    await expect(store.put('large', new Uint8Array(1001))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(await store.head('large')).toBeNull()
  }
  rmSync(directory, { recursive: true })
})

test('a schema that no reader of a snapshot takes is not written into one', () => {
  const json = `{"attributes":{},"deep":${'['.repeat(jsonDepth)}${']'.repeat(jsonDepth)}}`
  const resource = { name: 'r', schema: { json, raw: null }, records: null, objects: null }
  const span = { ulid: STREAM, consistentFrom: STREAM }
  const manifest = { ...span, database: 'd', schema: null, resources: [resource], objects: null }
  expect(() => encodeManifest(manifest)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  const shallow = json.replace(/\[+\]+/, '[]')
  const readable = encodeManifest({ ...manifest, resources: [{ ...resource, schema: { json: shallow, raw: null } }] })
  expect(decodeManifest(Buffer.from(readable), 's3db.json').resources).toHaveLength(1)
})
