import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { sha256 } from '../../../src/base/bytes.ts'
import { type DrillProof, encodeProof } from '../../../src/format/drill-file.ts'
import { encodeFileHeader } from '../../../src/format/journal-file.ts'
import { encodeKeySlot } from '../../../src/format/key-slot.ts'
import { nodeKey } from '../../../src/format/keys.ts'
import { Keyring } from '../../../src/format/record-keys/keyring.ts'
import { sealImage } from '../../../src/format/record-keys/sealed-image.ts'
import { encodeSegment } from '../../../src/format/segment/encode.ts'
import { encodeStoreFile, type StoreFile } from '../../../src/format/store-file.ts'
import type { Erasure } from '../../../src/model/erasure.ts'
import type { Loss } from '../../../src/model/gap.ts'
import { compareItems } from '../../../src/model/order.ts'
import type { StreamEntry, TreeNode } from '../../../src/model/timeline.ts'
import { firstUlidAt } from '../../../src/model/ulid.ts'
import { SnapshotWriter } from '../../../src/restore/snapshot-writer.ts'
import { sealWhole } from '../../../src/store/encryption/container.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { LEDGER, type LedgerEntry } from '../../../src/timeline/ledger.ts'
import { encodeNode } from '../../../src/timeline/nodes.ts'
import { encodeRoot } from '../../../src/timeline/root.ts'
import { SEGMENTS } from '../../../src/timeline/segments.ts'
import { image } from '../arbitrary.ts'
import { buildFrame, frameParts, STREAM } from '../journal-frames.ts'
import { events, frames } from '../segments.ts'
import { OBJECT_KEY, STORE_KEY } from './container.ts'
import { KEYED, keyedImages } from './record-keys.ts'

/*
 * Valid files of every kind, made once and kept under test/golden: what was written must stay readable. Run this file
 * to make those that are missing; one that is there is never made again.
 */
const DIRECTORY = fileURLToPath(new URL('../../golden/', import.meta.url))

/** A golden file. */
export function golden(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(DIRECTORY, name)))
}

/** The golden files whose names begin so, by name without that beginning. */
export function goldenFiles(prefix: string): Map<string, Uint8Array> {
  const names = readdirSync(DIRECTORY).filter((name) => name.startsWith(prefix))
  return new Map(names.sort().map((name) => [name.slice(prefix.length).replace(/\.bin$/, ''), golden(name)]))
}

function sample<T>(arbitrary: fc.Arbitrary<T>, seed: number): T {
  const [value] = fc.sample(arbitrary, { numRuns: 1, seed })
  if (value === undefined) throw new Error('no sample')
  return value
}

function fail(): never {
  throw new Error('nothing was made')
}

function keep(name: string, make: () => Uint8Array): void {
  const file = join(DIRECTORY, `${name}.bin`)
  if (!existsSync(file)) writeFileSync(file, make())
}

function makeJournal(): void {
  const parts = sample(fc.array(frameParts, { minLength: 3, maxLength: 3 }), 11)
  let sequence = 1
  const made = parts.map((part, i) => {
    const frame = buildFrame(i + 1, sequence, part)
    sequence += part.changes.length
    return frame
  })
  for (const [i, frame] of made.entries()) keep(`frame-${i + 1}`, () => frame)
  keep('journal-file', () =>
    Buffer.concat([
      encodeFileHeader({ file: 1, firstFrame: 1, stream: STREAM }),
      ...['frame-1', 'frame-2', 'frame-3'].map((name) => golden(`${name}.bin`)),
      Buffer.alloc(512),
    ]),
  )
}

function makeSegments(): void {
  keep('segment-mixed', () => {
    const list = sample(events(STREAM, 9, 9), 12)
    return encodeSegment(frames(list), { stream: STREAM, level: 0, rowGroupRows: 5 }).bytes
  })
  keep('segment-one', () => {
    const list = sample(events(STREAM, 1, 1), 13)
    return encodeSegment(frames(list), { stream: STREAM, level: 0 }).bytes
  })
}

async function makeSnapshot(): Promise<void> {
  const store = new MemoryStore()
  const writer = new SnapshotWriter({ store, prefix: '', ulid: firstUlidAt(1_760_000_000_000), database: 'golden' })
  const images = sample(fc.array(image, { minLength: 14, maxLength: 14 }), 14)
  const ids = ['', 'a', 'a/b', '"quoted"', '\\', '\u{1f600}', '__proto__']
  const items = ['users', 'a/b é'].flatMap((resource) => [
    { kind: 'schema', resource, id: '' } as const,
    { kind: 'object', resource, id: 'seq=1' } as const,
    ...ids.map((id) => ({ kind: 'record', resource, id }) as const),
  ])
  const states = items.map((item, i) => ({ ...item, image: images[i % images.length] ?? fail() }))
  await writer.add(states.sort(compareItems))
  await writer.finish()
  for await (const { key } of store.list('')) {
    const bytes = await store.get(key)
    keep(`snapshot-${key}`, () => bytes)
  }
}

function makeTimeline(): void {
  const ulid = (n: number): string => firstUlidAt(1_760_000_000_000 + n)
  const hash = (digit: string): string => digit.repeat(64)
  const stream: StreamEntry = {
    id: STREAM,
    state: 'open',
    host: 'h',
    pid: 7,
    journal: { kind: 'disk', path: '/j' },
    ...{ openedAt: ulid(0), sealedThrough: ulid(9), lastSequence: 9, lastUlid: ulid(9) },
    ...{ chain: hash('a'), owner: '0123456789abcdef' },
  }
  const segment = {
    ...{ key: `segment/${STREAM}/00/${'0'.repeat(15)}1-${'0'.repeat(15)}9-0123abcd.parquet`, level: 0, stream: STREAM },
    ...{ firstSequence: 1, lastSequence: 9, firstUlid: ulid(1), lastUlid: ulid(9), events: 9, bytes: 4000 },
    ...{ sha256: hash('b'), footer: { bytes: 900, crc32: 12345 }, chain: { previous: hash('c'), value: hash('a') } },
  }
  const gap = { stream: STREAM, firstSequence: 3, lastSequence: 4, afterUlid: ulid(2), beforeUlid: ulid(5) }
  const snapshot = {
    ...{ ulid: ulid(3), consistentFrom: ulid(4), prefix: `snapshot/${ulid(3)}/`, records: 2, bytes: 700 },
    ...{ manifestSha256: hash('d'), except: [gap] },
  }
  const loss: Loss = {
    ...{ stream: STREAM, firstSequence: 10, after: ulid(9), through: ulid(12), reason: 'r', by: null },
    cause: 'crash',
  }
  const known: StreamEntry = {
    ...{ ...stream, state: 'closed', journal: { kind: 'store' } },
    shed: [{ firstSequence: 10, lastSequence: 12, after: ulid(9), before: null }],
    sealed: [{ firstSequence: 1, lastSequence: 2, firstUlid: ulid(1), lastUlid: ulid(2) }],
    late: { after: ulid(1), through: ulid(2) },
  }
  const acknowledgement = {
    ...{ stream: STREAM, firstSequence: 3, lastSequence: null, reason: 'known', by: 'ann', at: ulid(20) },
  }
  const erasure: Erasure = {
    ...{ ulid: ulid(40), resource: 'users', mode: 'rewritten', reason: 'asked', by: 'ann', events: 2, snapshots: 1 },
  }
  const restoring = { resources: ['users'], ids: { count: 2, sha256: hash('f') } }
  const own = {
    epochs: [{ epoch: 2, startedAt: ulid(30), restored: ulid(4), restoring }],
    ...{ streams: [stream], snapshots: [], losses: [loss], acknowledgements: [acknowledgement], erasures: [erasure] },
    repairs: [{ generation: 6, first: 3, last: 5 }],
  }
  const forgotten = {
    first: 1,
    last: 2,
    key: `heads/${'0'.repeat(11)}1-${'0'.repeat(11)}2-0123abcd.bin`,
    sha256: hash('e'),
  }
  const file = (name: string, height: number, width: number): TreeNode => {
    return { key: nodeKey(7, '0123abcd'), sha256: sha256(golden(`${name}.bin`)), height, width }
  }
  const below = { firstUlid: ulid(1), lastUlid: ulid(9), segments: 2, events: 18, bytes: 8000 }
  keep('node-segments-leaf', () => encodeNode(SEGMENTS, { height: 0, entries: [segment, segment] }))
  const leaf = { ...file('node-segments-leaf', 0, 2), ...below }
  keep('node-segments-branch', () => encodeNode(SEGMENTS, { height: 2, nodes: [{ ...leaf, height: 1 }, leaf] }))
  const entries: readonly LedgerEntry[] = [
    { epochs: { epoch: 1, startedAt: ulid(0), restored: null } },
    { streams: known },
    { snapshots: snapshot },
    { forgotten },
    ...[{ losses: loss }, { acknowledgements: acknowledgement }, { erasures: erasure }],
  ]
  keep('node-ledger-leaf', () => encodeNode(LEDGER, { height: 0, entries }))
  keep('node-ledger-branch', () =>
    encodeNode(LEDGER, { height: 1, nodes: [file('node-ledger-leaf', 0, entries.length)] }),
  )
  const mark = { name: 'before-2.0', ulid: ulid(5), at: ulid(6) }
  const hold = { id: ulid(7), from: ulid(1), through: ulid(5), until: null, reason: 'asked', by: 'ann' }
  keep('node-ledger-marks', () => encodeNode(LEDGER, { height: 0, entries: [{ marks: mark }, { holds: hold }] }))
  const empty = { nodes: [], tail: [] }
  const first = { ...own, losses: [], acknowledgements: [], erasures: [], ledger: [], segments: empty }
  keep('root-1', () => encodeRoot({ generation: 1, previous: null, content: first }))
  const kept = { marks: [mark], holds: [{ ...hold, until: ulid(9), by: null }], forgotten: [forgotten] }
  const marked = { ...first, ...kept, ledger: [file('node-ledger-marks', 0, 2)] }
  keep('root-3', () => encodeRoot({ generation: 3, previous: null, content: marked }))
  const segments = { nodes: [{ ...file('node-segments-branch', 2, 2), ...below, segments: 4 }, leaf], tail: [segment] }
  const ledger = [file('node-ledger-branch', 1, 1), file('node-ledger-leaf', 0, entries.length)]
  const previous = sha256(golden('root-1.bin'))
  keep('root-2', () => encodeRoot({ generation: 2, previous, content: { ...own, ledger, segments } }))
}

const PROOF: DrillProof = {
  format: 1,
  ulid: STREAM,
  startedAt: '2026-11-21T00:00:00.000Z',
  moment: STREAM,
  seed: 7,
  passed: false,
  plan: { snapshot: STREAM, reckonedFrom: STREAM, segments: 2, bytes: 4000, rows: 9 },
  restoreMs: 12,
  compareMs: 3,
  resources: [{ resource: 'users', items: 3, hash: 'a'.repeat(64) }],
  except: [{ stream: STREAM, firstSequence: 3, lastSequence: null, afterUlid: STREAM, beforeUlid: STREAM }],
  differences: [{ kind: 'record', resource: 'users', id: 'u1', what: 'missing' }],
  differing: 1,
  failure: { code: 'SEGMENT_CORRUPT', message: 'damaged' },
}

function makeRest(): void {
  const createdAt = '2026-11-21T00:00:00.000Z'
  const storeFile: StoreFile = {
    format: 2,
    id: STREAM,
    database: 's3://b/p',
    createdAt,
    storeKey: null,
    recordKeys: false,
  }
  keep('store-file', () => encodeStoreFile(storeFile))
  keep('store-file-record-keys', () => encodeStoreFile({ ...storeFile, recordKeys: true }))
  keep('store-file-encrypted', () => encodeStoreFile({ ...storeFile, storeKey: STREAM }))
  const salt = Buffer.alloc(16, 5)
  const slot = { id: STREAM, storeKey: STREAM, createdAt: storeFile.createdAt, wrapped: Buffer.alloc(60, 3) }
  keep('key-slot-raw', () => encodeKeySlot({ ...slot, kdf: { name: 'raw' } }))
  keep('key-slot-scrypt', () => encodeKeySlot({ ...slot, kdf: { name: 'scrypt', N: 2 ** 17, r: 8, p: 1, salt } }))
  keep('drill-proof', () => encodeProof(PROOF))
  for (const length of [5, 65_600]) {
    keep(`container-${length}`, () => sealWhole(STORE_KEY, OBJECT_KEY, containerPlain(length)))
  }
}

function makeRecordKeys(): void {
  keep('keyring-1', () => Keyring.create(STREAM).encode())
  const keyring = Keyring.decode(golden('keyring-1.bin')) ?? fail()
  keep('keyring-2', () => keyring.without({ resource: 'users', id: 'erased' }, 0, 2).encode())
  for (const [i, one] of keyedImages().entries()) {
    keep(`sealed-image-${i + 1}`, () => sealImage(keyring, KEYED, one).raw ?? fail())
  }
}

/** What the container of this many bytes holds. */
export function containerPlain(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251)
}

if (import.meta.main) {
  mkdirSync(DIRECTORY, { recursive: true })
  makeJournal()
  makeSegments()
  await makeSnapshot()
  makeTimeline()
  makeRest()
  makeRecordKeys()
}
