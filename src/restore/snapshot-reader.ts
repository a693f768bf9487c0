import { compareUtf8, sha256, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { decodeLines, type Lines, oneLine } from '../format/jsonl.ts'
import { MANIFEST_FILE } from '../format/keys.ts'
import {
  decodeManifest,
  type Manifest,
  type Member,
  type SchemaDefinition,
  type SnapshotFile,
} from '../format/manifest.ts'
import { rawFromJson } from '../format/raw-json.ts'
import type { Image, Item, Kind } from '../model/event.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { ahead } from './ahead.ts'
import { inflatedBytes, inflateMember } from './gzip-members.ts'
import type { StoredMember } from './members.ts'
import type { Selection } from './target.ts'

/** Members that are fetched and inflated ahead of the reader, and their inflated bytes: of larger ones, one at a time. */
const READ_AHEAD = 2
const READ_AHEAD_BYTES = 16 * 1024 * 1024
/** Bytes of a file that are read together where all of its members are wanted as they are stored; of a larger one, it alone. */
const WINDOW_BYTES = 4 * 1024 * 1024

/** One item of a snapshot file as it is read: ids as bytes, the image on demand. */
export interface SnapshotLines {
  readonly kind: Kind
  readonly resource: string
  readonly lines: Lines
}

/** A file of a snapshot, and what is in it. */
export interface SnapshotContent {
  readonly kind: Kind
  readonly resource: string
  readonly file: SnapshotFile
  readonly lines: AsyncGenerator<SnapshotLines>
}

/** A snapshot that is open for reading. */
export class SnapshotReader {
  readonly manifest: Manifest
  readonly #store: ObjectStore
  readonly #prefix: string

  private constructor(store: ObjectStore, prefix: string, manifest: Manifest) {
    this.#store = store
    this.#prefix = prefix
    this.manifest = manifest
  }

  /**
   * Reads the manifest. Errors: `SNAPSHOT_CORRUPT` where it is damaged or its hash is not `expectedSha256` (null: a
   * directory whose hash nobody noted).
   */
  static async open(store: ObjectStore, prefix: string, expectedSha256: string | null): Promise<SnapshotReader> {
    return SnapshotReader.of(store, prefix, await store.get(`${prefix}${MANIFEST_FILE}`), expectedSha256)
  }

  /** The same with the bytes of the manifest, which somebody has read. */
  static of(store: ObjectStore, prefix: string, bytes: Uint8Array, expectedSha256: string | null): SnapshotReader {
    const key = `${prefix}${MANIFEST_FILE}`
    if (expectedSha256 !== null && sha256(bytes) !== expectedSha256) throw damaged(key, 'its hash is wrong')
    return new SnapshotReader(store, prefix, decodeManifest(bytes, key))
  }

  /** Of every file of it, the manifest among them. */
  keys(): readonly string[] {
    const { objects, resources } = this.manifest
    const files = [objects, ...resources.flatMap((resource) => [resource.objects, resource.records])]
    const names = files.filter((file) => file !== null).map(({ file }) => file)
    return [MANIFEST_FILE, ...names].map((name) => `${this.#prefix}${name}`)
  }

  /** About what `stored` and the lines of one member hold at a time. */
  storedBytes(): number {
    return 2 * WINDOW_BYTES + this.scanBytes()
  }

  /** About what `lines` holds at a time: the members that are read ahead, of the file whose members are the largest. */
  scanBytes(): number {
    const { objects, resources } = this.manifest
    const files = [objects, ...resources.flatMap((resource) => [resource.objects, resource.records])]
    const each = files.map((file) => (file === null ? 0 : memberBytes(file) * (aheadOf(file) + 1)))
    return Math.ceil(each.reduce((most, bytes) => Math.max(most, bytes), 0))
  }

  /** The files, each with what is in it, in the order of `compareItems`; the schemas are in the manifest. */
  *files(): Generator<SnapshotContent> {
    const { manifest } = this
    const resources = manifest.resources.toSorted((a, b) => compareUtf8(a.name, b.name))
    const of = (kind: Kind, resource: string, file: SnapshotFile | null): readonly SnapshotContent[] =>
      file === null ? [] : [{ kind, resource, file, lines: this.#fileLines(kind, resource, file, undefined) }]
    yield* of('object', '', manifest.objects)
    for (const { name, objects } of resources) yield* of('object', name, objects)
    for (const { name, records } of resources) yield* of('record', name, records)
  }

  /** The schemas, as lines, in the order of `compareItems`. */
  *schemas(): Generator<SnapshotLines> {
    const { schema, resources } = this.manifest
    if (schema !== null) yield schemaLines('', schema)
    for (const { name, schema } of resources.toSorted((a, b) => compareUtf8(a.name, b.name)))
      if (schema !== null) yield schemaLines(name, schema)
  }

  /** Everything in the selection, in the order of `compareItems`, a gzip member at a time. */
  async *lines(selection: Selection): AsyncGenerator<SnapshotLines> {
    const { manifest } = this
    const chosen = selection.resources === undefined ? null : new Set(selection.resources)
    const resources = manifest.resources
      .filter(({ name }) => chosen === null || chosen.has(name))
      .sort((a, b) => compareUtf8(a.name, b.name))
    if (chosen === null && manifest.schema !== null) yield schemaLines('', manifest.schema)
    for (const { name, schema } of resources) if (schema !== null) yield schemaLines(name, schema)
    if (chosen === null && manifest.objects !== null) yield* this.#fileLines('object', '', manifest.objects, undefined)
    for (const { name, objects } of resources)
      if (objects !== null) yield* this.#fileLines('object', name, objects, undefined)
    for (const { name, records } of resources) {
      if (records !== null) yield* this.#fileLines('record', name, records, selection.ids)
    }
  }

  /** The image of one item, or null; reads at most one gzip member besides the manifest. */
  async find(item: Item): Promise<Image | null> {
    const { manifest } = this
    const resource = manifest.resources.find(({ name }) => name === item.resource)
    if (item.kind === 'schema') {
      const schema = item.resource === '' ? manifest.schema : (resource?.schema ?? null)
      return schema === null ? null : schemaImage(schema)
    }
    const objects = item.resource === '' ? manifest.objects : (resource?.objects ?? null)
    const file = item.kind === 'record' ? (resource?.records ?? null) : objects
    const member = file === null ? undefined : memberOf(file, item.id)
    if (file === null || member === undefined) return null
    const wanted = utf8(item.id)
    const lines = await this.#readMember(file, member)
    for (const line of lines) if (Buffer.compare(line.id, wanted) === 0) return line.image()
    return null
  }

  /** The members of a file as they are stored, many in one request, each known to have the hash that the manifest has. */
  async *stored({ file, members }: SnapshotFile): AsyncGenerator<StoredMember> {
    const key = `${this.#prefix}${file}`
    const windows = windowsOf(members)
    const most = windows.some(({ start, end }) => end - start > WINDOW_BYTES) ? 1 : READ_AHEAD
    for await (const [window, bytes] of ahead(windows, most, ({ start, end }) =>
      this.#store.get(key, { start, end }),
    )) {
      for (const [offset, length, records, firstId, hash] of window.members) {
        const stored = bytes.subarray(offset - window.start, offset - window.start + length)
        if (sha256(stored) !== hash) throw wrongHash(key, offset)
        yield { offset, bytes: stored, records, firstId, sha256: hash }
      }
    }
  }

  /** The lines of a member, as `stored` gives it. */
  storedLines({ file, uncompressedBytes }: SnapshotFile, member: StoredMember): Promise<Lines> {
    return linesOf(member, `${this.#prefix}${file}`, uncompressedBytes)
  }

  async *#fileLines(
    kind: Kind,
    resource: string,
    file: SnapshotFile,
    ids: readonly string[] | undefined,
  ): AsyncGenerator<SnapshotLines> {
    const wanted = ids === undefined ? null : new Set(ids)
    const members = wanted === null ? file.members : membersOf(file, [...wanted])
    const ahead: Promise<Lines>[] = []
    const most = aheadOf(file)
    for (let next = 0; next < members.length || ahead.length > 0; ) {
      while (ahead.length < most && next < members.length) {
        const member = members[next++]
        if (member === undefined) break
        const read = this.#readMember(file, member)
        read.catch(() => {}) // thrown where it is awaited, below
        ahead.push(read)
      }
      const lines = await ahead.shift()
      if (lines === undefined) return
      yield { kind, resource, lines: wanted === null ? lines : lines.having(wanted) }
    }
  }

  /** Nothing of a member is used before its hash is known to be the one in the manifest, whose own is in the timeline. */
  async #readMember(file: SnapshotFile, [offset, bytes, records, firstId, hash]: Member): Promise<Lines> {
    const key = `${this.#prefix}${file.file}`
    const compressed = await this.#store.get(key, { start: offset, end: offset + bytes })
    if (sha256(compressed) !== hash) throw wrongHash(key, offset)
    const member = { offset, bytes: compressed, records, firstId, sha256: hash }
    return linesOf(member, key, file.uncompressedBytes)
  }
}

/** `most`: bytes that it can have uncompressed. */
async function linesOf({ offset, bytes, records }: StoredMember, key: string, most: number): Promise<Lines> {
  let whole: Uint8Array
  try {
    whole = await inflateMember(bytes, Math.min(inflatedBytes([bytes]), LIMITS.memberBytes, most))
  } catch (error) {
    throw damaged(key, `the part at byte ${offset} does not inflate`, error)
  }
  const lines = decodeLines(whole, key, records)
  if (lines.length !== records)
    throw damaged(key, `the part at byte ${offset} has ${lines.length} lines, not ${records}`)
  return lines
}

/** Neighbours that are read together. */
interface Window {
  readonly start: number
  end: number
  readonly members: Member[]
}

function windowsOf(members: readonly Member[]): readonly Window[] {
  const windows: Window[] = []
  for (const member of members) {
    const [start, bytes] = member
    const last = windows.at(-1)
    if (last !== undefined && start + bytes - last.start <= WINDOW_BYTES) {
      last.members.push(member)
      last.end = start + bytes
    } else windows.push({ start, end: start + bytes, members: [member] })
  }
  return windows
}

function memberBytes({ uncompressedBytes, members }: SnapshotFile): number {
  return uncompressedBytes / members.length
}

function aheadOf(file: SnapshotFile): number {
  return memberBytes(file) > READ_AHEAD_BYTES / READ_AHEAD ? 1 : READ_AHEAD
}

/** The member that holds `id` if any does: the last one whose first id is not greater. */
function memberOf(file: SnapshotFile, id: string): Member | undefined {
  let low = 0
  let high = file.members.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareUtf8(file.members[middle]?.[3] ?? '', id) <= 0) low = middle + 1
    else high = middle
  }
  return file.members[low - 1]
}

function membersOf(file: SnapshotFile, ids: readonly string[]): Member[] {
  const members = new Set(ids.map((id) => memberOf(file, id)).filter((member) => member !== undefined))
  return [...members].sort((a, b) => a[0] - b[0])
}

function schemaImage({ json, raw }: SchemaDefinition): Image {
  return { json: utf8(json), raw: rawFromJson(raw) }
}

function schemaLines(resource: string, schema: SchemaDefinition): SnapshotLines {
  return { kind: 'schema', resource, lines: oneLine('', schemaImage(schema)) }
}

function wrongHash(key: string, offset: number): TidemarkError {
  return damaged(key, `the hash of the part at byte ${offset} is wrong`)
}

function damaged(key: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'SNAPSHOT_CORRUPT',
    `The snapshot file ${key} is damaged: ${what}. Nothing of it was used.`,
    {
      hint: 'Put it back from a copy; without one, `tidemark repair` lets the snapshot before it take its place.',
      details: { key },
      cause,
    },
  )
}
