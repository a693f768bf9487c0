import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { type Compressors, parquetMetadata, parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { formatHead } from '../../src/model/head.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/*
 * A reader of a store made from schemas/FORMAT.md alone: nothing below, up to `readState`, knows the code in src/.
 */
interface SegmentRow {
  key: string
  firstUlid: string
  lastUlid: string
  sha256: string
}
interface SnapshotRow {
  ulid: string
  consistentFrom: string
  prefix: string
  manifestSha256: string
}
interface FileRow {
  file: string
  sha256: string
  members: [number, number, number, string, string][]
}
interface Image {
  json: string
}
interface Change {
  addSegments?: SegmentRow[]
  addSnapshots?: SnapshotRow[]
}

const compressors: Compressors = {
  ZSTD: (input, length) => (length === 0 ? new Uint8Array(0) : Uint8Array.from(zstdDecompressSync(input))),
}

function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** MurmurHash3 x86 32-bit, from its definition. */
function murmur(text: string, seed: number): number {
  const bytes = Buffer.from(text)
  let h = seed
  for (let at = 0; at < bytes.length; at += 4) {
    const part = Buffer.alloc(4)
    bytes.copy(part, 0, at, at + 4)
    const k = Math.imul(part.readUInt32LE(), 0xcc9e2d51)
    h ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593)
    if (at + 4 <= bytes.length) h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
  }
  return mix(h ^ bytes.length)
}

const SALTS = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31]

/** The filter of a segment as FORMAT.md defines it, and every checksum of its column chunks. */
function expectIndex(file: ArrayBuffer, items: readonly { kind: string; resource: string; record_id: string }[]): void {
  const { key_value_metadata: pairs = [], row_groups: rowGroups } = parquetMetadata(file)
  const text = (key: string): string => pairs.find((pair) => pair.key === `tidemark.${key}`)?.value ?? ''
  const distinct = new Map(items.map((item) => [JSON.stringify([item.kind, item.resource, item.record_id]), item]))
  const blocks = Math.max(1, Math.ceil((12 * distinct.size) / 256))
  const filter = Buffer.alloc(blocks * 32)
  for (const { kind, resource, record_id } of distinct.values()) {
    const h = murmur(record_id, murmur(resource, ['schema', 'object', 'record'].indexOf(kind)))
    for (const [i, salt] of SALTS.entries()) {
      const at = Math.floor((h * blocks) / 2 ** 32) * 32 + 4 * i
      filter.writeUInt32LE((filter.readUInt32LE(at) | (1 << (Math.imul(mix(h), salt) >>> 27))) >>> 0, at)
    }
  }
  const index = JSON.parse(text('index'))
  expect(index.bloom).toBe(filter.toString('base64'))
  let row = 0
  for (const [rows, ...first] of index.rowGroups) {
    expect(first).toEqual([items[row]?.kind, items[row]?.resource, items[row]?.record_id])
    row += rows
  }
  expect(row).toBe(items.length)
  const sums = rowGroups.flatMap(({ columns }) =>
    columns.map(({ meta_data: chunk }) => {
      const start = Number(chunk?.dictionary_page_offset ?? chunk?.data_page_offset)
      return crc32(new Uint8Array(file, start, Number(chunk?.total_compressed_size)))
    }),
  )
  expect(text('checksums')).toBe(sums.map((sum) => sum.toString(16).padStart(8, '0')).join(''))
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function sealed(path: string): { [name: string]: unknown } {
  const text = readFileSync(path, 'utf8')
  const digits = text.slice(11, 75)
  expect(sha256(Buffer.from(`{"sha256":"${'0'.repeat(64)}${text.slice(75)}`))).toBe(digits)
  return JSON.parse(text)
}

function timelineOf(store: string): { segments: SegmentRow[]; snapshots: SnapshotRow[] } {
  const names = readdirSync(`${store}/timeline`).sort()
  let previous: string | null = null
  for (const [index, name] of names.entries()) {
    const path = `${store}/timeline/${name}`
    expect(name).toBe(`${String(index + 1).padStart(12, '0')}.json`)
    expect(sealed(path)).toMatchObject({ format: 1, generation: index + 1, previous })
    previous = sha256(readFileSync(path))
  }
  const last = sealed(`${store}/timeline/${names.at(-1)}`)
  const checkpoint = sealed(`${store}/timeline/${names[Number(last.checkpoint) - 1]}`)
  const { segments, snapshots } = checkpoint.timeline as { segments: SegmentRow[]; snapshots: SnapshotRow[] }
  const changes = (last.changes ?? []) as Change[]
  return {
    segments: [...segments, ...changes.flatMap(({ addSegments }) => addSegments ?? [])],
    snapshots: [...snapshots, ...changes.flatMap(({ addSnapshots }) => addSnapshots ?? [])],
  }
}

function addFile(
  state: Map<string, Image>,
  directory: string,
  kind: string,
  name: string,
  entry: FileRow | null,
): void {
  if (entry === null) return
  const bytes = readFileSync(join(directory, entry.file))
  expect(sha256(bytes)).toBe(entry.sha256)
  for (const [offset, length, records, firstId, hash] of entry.members) {
    const member = bytes.subarray(offset, offset + length)
    expect(sha256(member)).toBe(hash)
    const lines = gunzipSync(member).toString().split('\n')
    expect(lines.pop()).toBe('')
    expect(lines).toHaveLength(records)
    for (const [index, line] of lines.entries()) {
      const json = Number(/"json":(\d+)\}\}$/.exec(line)?.[1])
      const whole = Buffer.from(line)
      const { _tidemark } = JSON.parse(`{${whole.subarray(json > 2 ? json : 1)}`)
      if (index === 0) expect(_tidemark.id).toBe(firstId)
      state.set(JSON.stringify([kind, name, _tidemark.id]), { json: `${whole.subarray(0, json - 1)}}` })
    }
  }
}

function snapshotState(directory: string, manifestSha256: string | null): Map<string, Image> {
  const bytes = readFileSync(join(directory, 's3db.json'))
  if (manifestSha256 !== null) expect(sha256(bytes)).toBe(manifestSha256)
  const { tidemark } = JSON.parse(bytes.toString())
  const state = new Map<string, Image>()
  for (const { name, schema, records, objects } of [{ ...tidemark, name: '', records: null }, ...tidemark.resources]) {
    if (schema !== null) state.set(JSON.stringify(['schema', name, '']), { json: schema.json })
    addFile(state, directory, 'record', name, records)
    addFile(state, directory, 'object', name, objects)
  }
  return state
}

async function readState(store: string, moment: string): Promise<Map<string, Image>> {
  const { segments, snapshots } = timelineOf(store)
  const snapshot = snapshots
    .filter(({ consistentFrom }) => consistentFrom <= moment)
    .sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
    .at(-1)
  if (snapshot === undefined) throw new Error('unreachable')
  const state = snapshotState(join(store, snapshot.prefix), snapshot.manifestSha256)
  const events = []
  for (const { key, firstUlid, lastUlid, sha256: expected } of segments) {
    if (lastUlid <= snapshot.ulid || firstUlid > moment) continue
    const bytes = readFileSync(join(store, key))
    expect(sha256(bytes)).toBe(expected)
    const file = Uint8Array.from(bytes).buffer
    const rows = await parquetReadObjects({ file, compressors })
    expectIndex(
      file,
      rows.map(({ kind, resource, record_id }) => ({ kind, resource, record_id })),
    )
    events.push(...rows)
  }
  const wanted = events.filter(({ ulid }) => ulid > snapshot.ulid && ulid <= moment)
  for (const { kind, resource, record_id, after } of wanted.sort((a, b) => (a.ulid < b.ulid ? -1 : 1))) {
    const item = JSON.stringify([kind, resource, record_id])
    if (after === null || after === undefined) state.delete(item)
    else state.set(item, { json: after })
  }
  return state
}

function lastUlidAt(ms: number): string {
  let [text, rest] = ['', ms]
  for (let i = 0; i < 10; i++, rest = Math.floor(rest / 32))
    text = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.charAt(rest % 32) + text
  return text + 'Z'.repeat(16)
}

let home = ''
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-format-'))
})
afterAll(() => rm(home, { recursive: true, force: true }))

test('a reader made from FORMAT.md finds the state that restoreAt gives', async () => {
  const database = new ModelDatabase()
  const store = `${home}/store`
  const write = (i: number): Promise<void> => {
    const gone = i % 6 === 5
    const item = {
      kind: (['record', 'object', 'schema'] as const)[i % 3] ?? 'record',
      resource: i % 4 ? 'users/ü' : '',
      id: `${i % 11}`,
    }
    const value = { i, text: `"},"_tidemark":{"json":${i}}}`, _tidemark: 'mine' }
    return database.write(
      item.kind === 'schema' ? { ...item, id: '' } : item,
      gone ? null : i % 7 ? recordImage(value) : recordImage({}),
    )
  }
  for (let i = 0; i < 20; i++) await write(i)
  const options = { store: `file:${store}`, source: database, journal: `${home}/journal`, seal: { events: 7 } }
  let tidemark = await Tidemark.capture(options)
  await tidemark.baseline()
  const moments: number[] = []
  for (let round = 0; round < 6; round++) {
    await Promise.all(Array.from({ length: 25 }, (_, i) => write(round * 31 + i)))
    await new Promise((resolve) => setTimeout(resolve, 3))
    moments.push(Date.now())
    await new Promise((resolve) => setTimeout(resolve, 3))
    if (round === 2) await tidemark.snapshot()
    if (round === 3) {
      await tidemark.close() // and a second stream
      tidemark = await Tidemark.capture({ ...options, journal: `${home}/another` })
    }
    await tidemark.flush()
  }
  const seen = new Set<string>()
  for (const [index, moment] of moments.entries()) {
    const directory = `${home}/restored-${index}`
    await tidemark.restoreAt(moment, { target: `file:${directory}` })
    const expected = snapshotState(directory, null)
    const found = await readState(store, lastUlidAt(moment))
    expect([...found].sort()).toEqual([...expected].sort())
    expect(found.size).toBeGreaterThan(10)
    seen.add(JSON.stringify([...found].sort()))
  }
  expect(seen.size).toBe(moments.length)
  await tidemark.close()
})

test('the numbers and forms of the document are right', () => {
  const document = readFileSync(join(import.meta.dirname, '../../schemas/FORMAT.md'), 'utf8')
  const [, example = '', bytes] =
    /`(\{"id":"u1","name":"Ann"),"_tidemark":\{[^`]*"json":(\d+)\}\}`/.exec(document) ?? []
  expect(Buffer.byteLength(`${example}}`)).toBe(Number(bytes))
  // What `head` prints is as the document says.
  expect(document).toContain('`<generation>-<64 lower-case hex digits>`')
  expect(formatHead({ generation: 12, sha256: 'a0'.repeat(32) })).toMatch(/^12-[0-9a-f]{64}$/)
  // Each table of a binary layout goes on where the row before ended, up to where its parts of any length begin.
  const tables = [...document.matchAll(/^\| at \| size \| .*\n\|---\|---\|---\|\n((?:\|.*\n)+)/gm)]
  expect(tables.length).toBeGreaterThan(4)
  for (const [, rows = ''] of tables) {
    let end = 0
    for (const [, at = '', size = ''] of rows.matchAll(/^\| (\S+) \| (.*?) ?\| /gm)) {
      if (!/^\d+$/.test(at)) break
      expect(Number(at), rows).toBe(end)
      const [, count = '1', unit = ''] = /^(?:(\d+) x )?(u8|u16|u32|u64|\d+)?$/.exec(size) ?? []
      const width = unit.startsWith('u') ? Number(unit.slice(1)) / 8 : Number(unit || 0)
      end += Number(count) * width
    }
  }
})
