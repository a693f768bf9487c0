import { expect, test } from 'vitest'
import { EMPTY, text } from '../../src/base/bytes.ts'
import { decodeLine, encodeLine } from '../../src/format/jsonl.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { type Image, type Item, imageBytes, isUnreadable, KINDS, NO_CONTEXT, sameImage } from '../../src/model/event.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { compareStates } from '../../src/restore/difference.ts'
import { mergeRuns, mergeStamped } from '../../src/restore/merge.ts'
import { Passes } from '../../src/restore/passes.ts'
import { summarize } from '../../src/restore/preview.ts'
import { type ReplaySources, replay } from '../../src/restore/replay.ts'
import { emptyRow, type Row, type Run, type StampRange, setId } from '../../src/restore/run.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { SegmentRun } from '../../src/restore/segment-run.ts'
import { Segments } from '../../src/restore/segments.ts'
import { SnapshotReader } from '../../src/restore/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { encodeStored } from '../../src/s3db/stored-object.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { recordImage } from '../support/model-database.ts'
import { frames, open } from '../support/segments.ts'

const MIB = 1024 * 1024

/** Records of one size, numbered from `first`, of a run that says that it holds `bytes`; knows how many runs are loaded. */
class LargeRun implements Run {
  static loaded = 0
  static most = 0
  readonly row: Row = emptyRow()
  readonly bytes: number
  readonly stamps: StampRange = { first: MIN_ULID, last: 'Z'.repeat(26) }
  readonly #image: Image
  readonly #ids: readonly number[]
  #at = -1

  constructor(ids: readonly number[], imageBytes: number, bytes: number) {
    this.#ids = ids
    this.#image = { json: Buffer.alloc(imageBytes, 'x'), raw: null }
    this.bytes = bytes
    this.row.kindIndex = KINDS.indexOf('record')
    this.row.resource = 'docs'
    this.row.ulidData = Buffer.from(String(ids[0]).padStart(26, '0'))
  }

  advance(): boolean {
    const id = this.#ids[++this.#at]
    if (id === undefined) return false
    setId(this.row, Buffer.from(String(id).padStart(8, '0')), 0, 8)
    return true
  }

  async load(): Promise<boolean> {
    if (this.#at < 0) LargeRun.most = Math.max(LargeRun.most, ++LargeRun.loaded)
    return this.#at < 0 && this.advance()
  }

  isLast(): boolean {
    return true
  }

  image(): Image {
    return this.#image
  }

  async close(): Promise<void> {
    LargeRun.loaded -= this.#at < 0 ? 0 : 1
  }
}

const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

function sumOf(batch: readonly { readonly image: Image | null }[]): number {
  return batch.reduce((sum, { image }) => sum + imageBytes(image), 0)
}

test('a merge hands on no more bytes at once than it should, however large the records', async () => {
  for (const [size, most] of [
    [MIB, 5 * MIB],
    [6 * MIB, 6 * MIB],
    [100, 100_000],
  ] as const) {
    let records = 0
    for await (const batch of mergeRuns([new LargeRun(numbers(0, 40), size, size)])) {
      expect(sumOf(batch)).toBeLessThanOrEqual(most)
      records += batch.length
    }
    expect(records).toBe(40)
  }
})

test('differences are handed on, and samples taken, by their bytes too', async () => {
  const item = (id: number): Item => ({ kind: 'record', resource: `r${String(id).padStart(3, '0')}`, id: 'a' })
  const image: Image = { json: Buffer.from(JSON.stringify({ text: 'x'.repeat(MIB) })), raw: null }
  async function* states(count: number): AsyncGenerator<(Item & { readonly image: Image })[]> {
    for (let i = 0; i < count; i++) yield [{ ...item(i), image }]
  }
  async function* none(): AsyncGenerator<never> {}
  let differences = 0
  for await (const comparison of compareStates(none(), states(40))) {
    expect(comparison.differences.length).toBeLessThanOrEqual(5)
    differences += comparison.differences.length
  }
  expect(differences).toBe(40)
  const preview = await summarize(compareStates(none(), states(40)), none())
  expect([preview.added, preview.samples.length]).toEqual([40, 7])
})

/** An image that knows how large it is, and that nobody has to look into. */
class SealedImage implements Image {
  readonly bytes = 10 * MIB
  get json(): Uint8Array {
    throw new Error('it was decoded')
  }
  get raw(): Uint8Array {
    throw new Error('it was decoded')
  }
}

/** Items of ten MiB, each loaded by itself. */
class OneByOne extends LargeRun {
  readonly #log: string[]
  readonly #image = new SealedImage()
  #left: number

  constructor(count: number, log: string[]) {
    super(numbers(0, count), 1, 10 * MIB)
    this.#left = count
    this.#log = log
  }

  override advance(): boolean {
    return false
  }

  override async load(): Promise<boolean> {
    if (this.#left-- === 0) return false
    this.#log.push('load')
    return super.advance()
  }

  override image(): Image {
    return this.#image
  }
}

test('a large record is handed on before another is loaded, and nobody decodes it to learn how large it is', async () => {
  const log: string[] = []
  async function* none(): AsyncGenerator<never> {}
  async function* states(): AsyncGenerator<readonly ItemState[]> {
    for await (const batch of mergeRuns([new OneByOne(5, log)])) {
      log.push(`batch of ${batch.length}`)
      yield batch.flatMap(({ image, ...item }) => (image === null ? [] : [{ ...item, image }]))
    }
  }
  const preview = await summarize(compareStates(none(), states()), none())
  expect([preview.added, preview.samples]).toEqual([5, []])
  // None is needed beside it: each is the last row of its item.
  expect(log.join(', ')).toBe(
    'load, batch of 1, load, batch of 1, load, batch of 1, load, batch of 1, load, batch of 1',
  )
  expect(isUnreadable(new SealedImage())).toBe(false)
})

test('an item that goes on in the next row group is not handed on before that, and comes once', async () => {
  class TwoGroups extends LargeRun {
    #at = 0
    override advance(): boolean {
      return false
    }
    override async load(): Promise<boolean> {
      setId(this.row, Buffer.from('a'), 0, 1)
      this.row.ulidData = Buffer.from(String(++this.#at * 2).padStart(26, '0'))
      return this.#at < 3
    }
    override isLast(): boolean {
      return this.#at === 2
    }
  }
  const other = new LargeRun([], 1, MIB)
  setId(other.row, Buffer.from('a'), 0, 1)
  other.row.ulidData = Buffer.from('3'.padStart(26, '0'))
  let loads = 0
  other.load = async () => loads++ === 0
  other.advance = () => false
  const items = []
  for await (const batch of mergeStamped([new TwoGroups([], 1, MIB), other])) items.push(...batch)
  expect(items.map(({ id, ulid }) => [id, Number(ulid)])).toEqual([['a', 4]])
})

test('records that are larger than the memory leave a part of it for the segments', async () => {
  const store = new MemoryStore()
  const ulids = new UlidGenerator(() => 1, new Uint8Array(8))
  const change = { kind: 'record', resource: 'r', id: 'a' } as const
  const ulid = ulids.next()
  const writer = new SnapshotWriter({ store, prefix: 'huge/', ulid, database: 'test' })
  await writer.add([{ ...change, image: recordImage({ id: 'a', text: 'x'.repeat(20 * MIB) }) }])
  const snapshot = { ulid, consistentFrom: ulid, prefix: 'huge/', ...(await writer.finish()) }
  const segments: SegmentEntry[] = []
  for (let sequence = 1; sequence <= 5; sequence++) {
    const after = recordImage({ id: 'a', sequence })
    const stamp = { ulid: ulids.next(), stream: 's', sequence }
    const event = { ...change, context: NO_CONTEXT, operation: 'insert', before: null, after, stamp } as const
    const { bytes, info } = encodeSegment(frames([event], 1), { stream: 's', level: 0 })
    await store.put(`${sequence}`, bytes)
    segments.push({ ...info, key: `${sequence}` })
  }
  const sources: ReplaySources = {
    store,
    segments: new Segments(store),
    snapshots: new Snapshots(store),
    nodes: segmentNodes(store),
    memory: 16 * MIB,
    scratch: () => {
      throw new Error('small segments were merged in passes')
    },
    open: null,
  }
  const plan = { moment: ulids.next(), snapshot, segments, bytes: 0, rows: 6, except: [], erasures: 0 }
  const found: string[] = []
  for await (const batch of replay(sources, plan, {})) found.push(...batch.map(({ image }) => text(image.json)))
  expect(found).toEqual(['{"id":"a","sequence":5}'])
  // A member is read while another is at work: not two.
  expect((await SnapshotReader.open(store, 'huge/', null)).scanBytes()).toBeLessThan(2.1 * 20 * MIB)
})

test('a large line is not joined, and its raw part is gone before its JSON is there', () => {
  const asked: string[] = []
  const raw = encodeStored({
    metadata: [['t', 'y'.repeat(2 * MIB)]],
    body: '',
    contentType: null,
    contentEncoding: null,
  })
  const json = Buffer.from(`{"id":"a","t":"${'x'.repeat(2 * MIB)}"}`)
  const image: Image = {
    bytes: raw.length + json.length,
    get json(): Uint8Array {
      asked.push('json')
      return json
    },
    get raw(): Uint8Array {
      asked.push('raw')
      return raw
    },
  }
  const parts = encodeLine('a', image)
  expect(asked).toEqual(['raw', 'json'])
  expect(parts[0]?.buffer).toBe(json.buffer)
  const read = decodeLine(Buffer.concat(parts), 'file').image()
  expect([Buffer.compare(read.json, json), Buffer.compare(read.raw ?? EMPTY, raw)]).toEqual([0, 0])
})

test('a large record of a segment is decoded where somebody looks, and not kept while it waits for its turn', async () => {
  const large = recordImage({ id: 'a', text: 'x'.repeat(3 * MIB) })
  const ulids = new UlidGenerator(() => 1, new Uint8Array(8))
  const change = {
    kind: 'record',
    resource: 'r',
    id: 'a',
    context: NO_CONTEXT,
    operation: 'insert',
    before: null,
  } as const
  const event = { ...change, after: large, stamp: { ulid: ulids.next(), stream: 's', sequence: 1 } }
  const { reader } = await open(encodeSegment(frames([event], 1), { stream: 's', level: 0 }))
  const run = new SegmentRun([partOf(reader, {})], { after: MIN_ULID, through: ulids.next(), selection: {} })
  expect(await run.load()).toBe(true)
  const read = run.image()
  expect(imageBytes(read)).toBeGreaterThan(3 * MIB)
  expect(read?.json.buffer).not.toBe(read?.json.buffer)
  expect(Buffer.compare(read?.json ?? Buffer.alloc(0), large.json)).toBe(0)
  expect(read?.raw).toBe(null)
})

test('records of two snapshots that stand there in the same bytes are the same, and are not decoded', () => {
  const image = (line: string): Image => ({
    get json(): Uint8Array {
      throw new Error('it was decoded')
    },
    get raw(): Uint8Array {
      throw new Error('it was decoded')
    },
    line: Buffer.from(line),
  })
  expect(sameImage(image('{"a":1}'), image('{"a":1}'))).toBe(true)
  expect(() => sameImage(image('{"a":1}'), image('{"a":2}'))).toThrow('it was decoded')
})

test('a record of a snapshot is copied from file to file as it stands, in the one piece that it was inflated into', async () => {
  const store = new MemoryStore()
  const ulid = '01KAAAAAAAAAAAAAAAAAAAAAAA'
  const writer = new SnapshotWriter({ store, prefix: '', ulid, database: 'test' })
  const image = recordImage({ id: 'a', text: 'x'.repeat(3 * MIB) })
  await writer.add([{ kind: 'record', resource: 'r', id: 'a', image }])
  await writer.finish()
  const reader = await SnapshotReader.open(store, '', null)
  for await (const { lines } of reader.lines({})) {
    const [line] = lines
    if (line === undefined) throw new Error('no line')
    const read = line.image()
    const [copied] = encodeLine('a', read)
    if (copied === undefined) throw new Error('no line')
    expect(copied.buffer).toBe(line.id.buffer)
    // Its member has no other line, and room for it was made once.
    expect(copied.buffer.byteLength).toBe(copied.length)
    expect(imageBytes(read)).toBeGreaterThan(3 * MIB)
    expect(Buffer.compare(read.json, image.json)).toBe(0)
  }
})

test('thousands of segments are merged in as many passes as the memory demands, each row once a level', async () => {
  LargeRun.loaded = LargeRun.most = 0
  let written = 0
  const memory = new MemoryStore()
  const scratch: ObjectStore = {
    put: async (key, body) => {
      if (!(body instanceof Uint8Array)) throw new Error('a part is bytes')
      written += body.length
      await memory.put(key, body)
    },
    get: (key, range) => memory.get(key, range),
    head: (key) => memory.head(key),
    list: (prefix, options) => memory.list(prefix, options),
    delete: (keys) => memory.delete(keys),
  }
  const [segments, each, size] = [2000, 4, 4096]
  const passes = new Passes(() => scratch, 32 * MIB)
  for (let i = 0; i < segments; i++) await passes.add(new LargeRun(numbers(i * each, each), size, MIB))
  const { rest } = passes
  expect(rest.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(32 * MIB)
  // In the first pass, when nothing is left of others: as many as fit.
  expect(LargeRun.most).toBeLessThanOrEqual(32)
  let records = 0
  for await (const batch of mergeRuns(rest)) records += batch.length
  expect(records).toBe(segments * each)
  // 125 first passes of 16 runs; what they leave (256 KiB each) is merged once more, 64 at a time: two levels.
  expect(written).toBeLessThan(2.2 * segments * each * size)
})

test('a run whose rows are large counts as what it holds: two of them are merged at a time', async () => {
  LargeRun.loaded = LargeRun.most = 0
  const passes = new Passes(() => new MemoryStore(), 64 * MIB)
  for (let i = 0; i < 12; i++) await passes.add(new LargeRun([i], 1000, 50 * MIB))
  expect(passes.rest.length).toBeLessThanOrEqual(12)
  expect(LargeRun.most).toBeLessThanOrEqual(2)
})
