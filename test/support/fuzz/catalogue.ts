import { readFileSync } from 'node:fs'
import { Ajv2020, type AnySchemaObject, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { sha256 } from '../../../src/base/bytes.ts'
import { hasCode, TidemarkError } from '../../../src/base/errors.ts'
import { readStoreFile } from '../../../src/engine/store-file.ts'
import { type DrillProof, decodeProof, encodeProof } from '../../../src/format/drill-file.ts'
import { decodeKeySlot, encodeKeySlot, type KeySlot } from '../../../src/format/key-slot.ts'
import { drillKey, nodeKey } from '../../../src/format/keys.ts'
import {
  decodeKnownStore,
  decodeWaitingEntry,
  encodeKnownStore,
  encodeWaitingEntry,
  type KnownStore,
} from '../../../src/format/known-store.ts'
import { sealJson, unsealJson } from '../../../src/format/sealed-json.ts'
import { decodeStoreFile, encodeStoreFile, type StoreFile } from '../../../src/format/store-file.ts'
import { isTreeNode } from '../../../src/format/timeline-shape.ts'
import type { StreamEntry, TreeNode } from '../../../src/model/timeline.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { LEDGER } from '../../../src/timeline/ledger.ts'
import { decodeNode, type TreeKind } from '../../../src/timeline/nodes.ts'
import { decodeRoot } from '../../../src/timeline/root.ts'
import { SEGMENTS } from '../../../src/timeline/segments.ts'
import { STREAM } from '../journal-frames.ts'
import { type Case, type Decoder, same } from './case.ts'
import { mutateBytes, mutateJson, pick, type Random } from './mutate.ts'

function validator(schema: string): ValidateFunction {
  const ajv = new Ajv2020({ strict: false })
  formats.default(ajv)
  if (schema === 'node') ajv.addSchema(schemaOf('timeline'))
  return ajv.compile(schemaOf(schema))
}

/** Members that this version does not know are for those who know them. */
function schemaOf(name: string): AnySchemaObject {
  const file = new URL(`../../../schemas/${name}.schema.json`, import.meta.url)
  return JSON.parse(
    readFileSync(file, 'utf8').replaceAll('"additionalProperties": false', '"additionalProperties": true'),
  )
}

function expectValid(validate: ValidateFunction, value: unknown): void {
  if (validate(value)) return
  throw new Error(`it was accepted against the schema: ${JSON.stringify(validate.errors?.slice(0, 3))}`)
}

/** Changes members, or the text itself, of a JSON file with a checksum, and makes the checksum fit. */
function resealed(
  file: Uint8Array,
  donors: readonly Uint8Array[],
  random: Random,
): { bytes: Uint8Array; kind: string } {
  const members = (bytes: Uint8Array): unknown => unsealJson(bytes)
  if (random() < 0.8) {
    const { value, kind } = mutateJson(members(file), donors.map(members), random)
    return { bytes: sealJson(typeof value === 'object' && value !== null ? value : {}), kind: `repaired ${kind}` }
  }
  const { bytes, kind } = mutateBytes(file, donors, random)
  return { bytes: sealedBytes(bytes), kind: `repaired text ${kind}` }
}

/** Any bytes with the beginning of a sealed file, and the checksum that they then have. */
function sealedBytes(bytes: Uint8Array): Uint8Array {
  const start = `{"sha256":"${'0'.repeat(64)}`
  const file = Buffer.concat([bytes, Buffer.alloc(Math.max(0, start.length - bytes.length))])
  file.write(start, 0, 'latin1')
  file.write(sha256(file), start.length - 64, 'latin1')
  return file
}

/** Roots of the catalogue, of generations 1 to n. */
export function rootKind(samples: readonly Uint8Array[]): SealedKind {
  const validate = validator('timeline')
  return {
    name: 'root',
    samples,
    // Which generation it is says the key; a file that is no JSON is of none.
    read: async (bytes) => decodeRoot(bytes, Number(unsealJson(bytes)?.generation ?? 1)).content,
    check: (timeline) =>
      expectValid(validate, { sha256: '0'.repeat(64), format: 2, generation: 1, previous: null, timeline }),
  }
}

/** Nodes of a tree, as one who has the right hash, height and width of each would name them. */
export function nodeKinds(segments: readonly Uint8Array[], ledger: readonly Uint8Array[]): SealedKind[] {
  const kindOf = <Node extends TreeNode, Entry>(kind: TreeKind<Node, Entry>, samples: readonly Uint8Array[]) => ({
    name: `node-of-${kind.name}`,
    samples,
    read: async (bytes: Uint8Array) => decodeNode(kind, namedNode(kind.name, bytes), bytes),
    check: (found: object) => {
      expectValid(validate, nodeFile(kind.name, found))
      const { height = 0, nodes = [] }: { height?: number; nodes?: readonly TreeNode[] } = found
      if (nodes.some((node) => node.height >= height)) throw new Error('a node that is not lower was accepted')
    },
  })
  const validate = validator('node')
  return [kindOf(SEGMENTS, segments), kindOf(LEDGER, ledger)]
}

function namedNode(tree: string, bytes: Uint8Array): TreeNode {
  const { height, nodes, [tree]: entries } = unsealJson(bytes) ?? {}
  const list = height === 0 ? entries : nodes
  const width = Array.isArray(list) ? list.length : 0
  const node = { key: nodeKey(1, '0123abcd'), sha256: sha256(bytes), height, width }
  return isTreeNode(node) ? node : refused('a node that none can name')
}

function nodeFile(tree: string, found: object): object {
  const { entries, ...rest }: { entries?: unknown } = found
  const below = entries === undefined ? {} : { [tree]: entries }
  return { sha256: '0'.repeat(64), format: 2, tree, ...rest, ...below }
}

/** A small file with a checksum of its own. */
export interface SealedKind {
  readonly name: string
  readonly samples: readonly Uint8Array[]
  /** Reads it as the program does. */
  read(bytes: Uint8Array): Promise<object>
  /** Throws where what was read of a file with a right checksum is none. */
  check(found: object): void
}

/** `tidemark.json`, key slots, proofs of drills: a damaged one gives nothing, one that somebody has made a valid one. */
export async function sealedDecoder({ name, samples, read, check }: SealedKind): Promise<Decoder> {
  const originals = await Promise.all(samples.map(async (bytes) => JSON.stringify(await read(bytes))))
  return {
    name,
    make: (random) => {
      const isRepaired = random() < 0.75
      const which = pick(random, samples.length)
      const file = samples[which] ?? Buffer.alloc(0)
      const { bytes, kind } = isRepaired ? resealed(file, samples, random) : mutateBytes(file, samples, random)
      const decode: Case['decode'] = async () => {
        const found = await read(bytes)
        return () => {
          if (isRepaired) return check(found)
          if (!originals.includes(JSON.stringify(found))) same(JSON.stringify(found), originals[which] ?? '', name)
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}

function refused(what: string): never {
  throw new TidemarkError('OBJECT_CORRUPT', `${what} was refused`, { hint: 'it is damaged' })
}

/** Decoders that give null for what is damaged, which their callers make an error of. */
export function sealedKinds(files: {
  readonly store: readonly Uint8Array[]
  readonly slots: readonly Uint8Array[]
  readonly proofs: readonly Uint8Array[]
}): SealedKind[] {
  const storeSchema = validator('store')
  const drillSchema = validator('drill')
  const readStore = async (bytes: Uint8Array): Promise<object> => {
    const store = new MemoryStore()
    await store.put('tidemark.json', bytes)
    try {
      return (await readStoreFile(store)) ?? refused('a store file')
    } catch (error) {
      // One that says that it is of another format is whole, and refused by name.
      if (hasCode(error, 'STORE_UNSUPPORTED')) return refused('a store of another format')
      throw error
    }
  }
  const sealed = (bytes: Uint8Array): object => ({ sha256: '0'.repeat(64), ...unsealJson(bytes) })
  return [
    {
      name: 'store-file',
      samples: files.store,
      read: readStore,
      check: (found) => expectValid(storeSchema, sealed(encodeStoreFile(found as StoreFile))),
    },
    {
      name: 'key-slot',
      samples: files.slots,
      read: async (bytes) => decodeKeySlot(bytes) ?? refused('a key slot'),
      check: (found) => {
        const { kdf, wrapped } = found as KeySlot
        const memory = kdf.name === 'raw' ? 0 : 128 * kdf.N * kdf.r
        if (memory > 2 ** 29 || wrapped.length !== 60) throw new Error('a slot was accepted that none can be')
        const again = decodeKeySlot(encodeKeySlot(found as KeySlot))
        same(JSON.stringify(again), JSON.stringify(found), 'a slot, written again')
      },
    },
    {
      name: 'drill-proof',
      samples: files.proofs,
      read: async (bytes) => decodeProof(drillKey(STREAM), bytes) ?? refused('a proof'),
      check: (found) => expectValid(drillSchema, sealed(encodeProof(found as DrillProof))),
    },
    ...localKinds(files),
  ]
}

/** What stands beside the journals; a damaged one counts as none. */
function localKinds(files: {
  readonly store: readonly Uint8Array[]
  readonly slots: readonly Uint8Array[]
}): SealedKind[] {
  const slots = files.slots.flatMap((bytes) => decodeKeySlot(bytes) ?? [])
  const known = files.store.flatMap((bytes) => decodeStoreFile(bytes) ?? [])
  const places = { locations: ['s3://bucket/store', 'file:/mnt/store'], through: STREAM }
  const again = (written: Uint8Array, found: object, decode: (bytes: Uint8Array) => object | null): void =>
    same(JSON.stringify(decode(written)), JSON.stringify(found), 'a local file, written again')
  return [
    {
      name: 'known-store',
      samples: known.map((file) => encodeKnownStore({ ...places, file, slots })),
      read: async (bytes) => decodeKnownStore(bytes) ?? refused('a known store'),
      check: (found) => again(encodeKnownStore(found as KnownStore), found, decodeKnownStore),
    },
    {
      name: 'waiting-entry',
      samples: [encodeWaitingEntry(ENTRY)],
      read: async (bytes) => decodeWaitingEntry(bytes) ?? refused('an entry'),
      check: (found) => again(encodeWaitingEntry(found as StreamEntry), found, decodeWaitingEntry),
    },
  ]
}

const ENTRY: StreamEntry = {
  id: STREAM,
  state: 'open',
  host: 'here',
  pid: 7,
  boot: 'a boot',
  journal: { kind: 'disk', path: `/var/lib/app/${STREAM}` },
  openedAt: STREAM,
  sealedThrough: STREAM,
  lastSequence: 0,
  lastUlid: '0'.repeat(26),
  chain: '0'.repeat(64),
  owner: '0123456789abcdef',
}
