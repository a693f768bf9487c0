import { sha256, text, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { readableJson } from '../format/bounded-json.ts'
import { encodeLine } from '../format/jsonl.ts'
import { distinctFile, MANIFEST_FILE, numberedFile, objectsFile, recordsFile } from '../format/keys.ts'
import { encodeManifest, type ManifestResource, type SchemaDefinition, type SnapshotFile } from '../format/manifest.ts'
import { rawToJson } from '../format/raw-json.ts'
import type { Image, Item, Kind } from '../model/event.ts'
import type { Gap } from '../model/gap.ts'
import { compareItems } from '../model/order.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { LEVELS, MemberFile, type StoredMember } from './members.ts'
import type { ItemState } from './target.ts'

/** What a snapshot is of, and where it goes. */
export interface SnapshotOptions {
  readonly store: ObjectStore
  /** Of every key, with its closing slash; empty for a directory of its own. */
  readonly prefix: string
  /** Written into the manifest. */
  readonly ulid: Ulid
  readonly database: string
  /** The acknowledged gaps that it is made through; absent: none. */
  readonly except?: readonly Gap[]
  /** One of `LEVELS`; absent: `kept`. */
  readonly level?: number
}

/** Members of snapshot files, and their bytes as they are stored. */
export interface MemberCount {
  readonly members: number
  readonly bytes: number
}

/** What was written. */
export interface WrittenSnapshot {
  readonly records: number
  /** Of all files, the manifest included. */
  readonly bytes: number
  readonly manifestSha256: string
}

interface FileInProgress {
  readonly name: string
  readonly members: MemberFile
  readonly stored: Promise<void>
}

interface Resource {
  schema: SchemaDefinition | null
  records: SnapshotFile | null
  objects: SnapshotFile | null
}

/**
 * Writes a state in the snapshot layout: `<resource>.jsonl.gz` files, and last of all `s3db.json`, without which the
 * files mean nothing. Memory is bounded by a few gzip members.
 */
export class SnapshotWriter {
  readonly #options: SnapshotOptions
  readonly #resources = new Map<string, Resource>()
  #schema: SchemaDefinition | null = null
  #objects: SnapshotFile | null = null
  /** Without its image, which may be large. */
  #last: Item | null = null
  #open: FileInProgress | null = null
  #records = 0
  #bytes = 0
  #members = 0
  #files = 0
  readonly #carried = { members: 0, bytes: 0 }
  /** Of the files, without regard to case: where the file system has none, two names must not be one file. */
  readonly #names = new Set<string>()

  constructor(options: SnapshotOptions) {
    this.#options = options
  }

  /** Adds states, in the order of `compareItems` over all calls. */
  async add(states: readonly ItemState[]): Promise<void> {
    for (const state of states) {
      const last = this.#last
      if (last !== null && compareItems(last, state) >= 0) throw outOfOrder(state)
      if (state.kind === 'schema') this.#addSchema(state)
      else {
        if (!this.#isOpenFor(state)) await this.#openFor(state)
        const room = this.#open?.members.add(state.id, encodeLine(state.id, state.image)) ?? null
        if (room !== null) await room
      }
      const { kind, resource, id } = state
      this.#last = { kind, resource, id }
    }
  }

  /**
   * Whether a member of the file of a resource can be carried next: where few lines are waiting, they and it are to be
   * written together.
   */
  canCarry(kind: Kind, resource: string): boolean {
    return !this.#isOpenFor({ kind, resource }) || this.#open === null || this.#open.members.canCarry
  }

  /** Adds a member of another snapshot as it is stored; its items come in the order of `add`. */
  async carry(kind: Kind, resource: string, member: StoredMember): Promise<void> {
    const first = { kind, resource, id: member.firstId }
    if (this.#last !== null && compareItems(this.#last, first) >= 0) throw outOfOrder(first)
    if (!this.#isOpenFor(first)) await this.#openFor(first)
    await this.#open?.members.carry(member)
    this.#carried.members++
    this.#carried.bytes += member.bytes.length
    this.#last = first
  }

  /** Of the files that are complete: the members that were carried, and those that were made. */
  get counts(): { readonly carried: MemberCount; readonly written: MemberCount } {
    const { members, bytes } = this.#carried
    const written = { members: this.#members - members, bytes: this.#bytes - bytes }
    return { carried: { members, bytes }, written }
  }

  /** Writes the manifest; the snapshot exists from here on. `consistentFrom`: see `SnapshotEntry`. */
  async finish(consistentFrom: Ulid = this.#options.ulid): Promise<WrittenSnapshot> {
    await this.complete()
    const { store, prefix } = this.#options
    const manifest = this.manifest('', consistentFrom)
    await store.put(`${prefix}${MANIFEST_FILE}`, manifest)
    return { records: this.#records, bytes: this.#bytes + manifest.length, manifestSha256: sha256(manifest) }
  }

  /** Ends the last file: all of them are stored, and no manifest names them yet. */
  async complete(): Promise<void> {
    await this.#closeFile()
  }

  /** The manifest of what is complete, with `prefix` in front of the name of each file. */
  manifest(prefix: string, consistentFrom: Ulid = this.#options.ulid): Uint8Array {
    const { ulid, database, except } = this.#options
    const placed = (file: SnapshotFile | null): SnapshotFile | null =>
      file === null ? null : { ...file, file: `${prefix}${file.file}` }
    const resources: ManifestResource[] = [...this.#resources].map(([name, { schema, records, objects }]) => ({
      name,
      schema,
      records: placed(records),
      objects: placed(objects),
    }))
    const span = { ulid, consistentFrom, ...(except === undefined ? {} : { except }) }
    const parts = { ...span, database, schema: this.#schema, objects: placed(this.#objects), resources }
    return readableJson(utf8(encodeManifest(parts)), 'The manifest of the snapshot')
  }

  /** Names of the files that are complete. */
  get files(): readonly string[] {
    const all = [this.#objects, ...[...this.#resources.values()].flatMap(({ records, objects }) => [records, objects])]
    return all.flatMap((file) => file?.file ?? [])
  }

  /** Ends what `finish` has not: a file that is under way is not stored. */
  async close(): Promise<void> {
    const open = this.#open
    this.#open = null
    open?.members.abandon()
    await open?.stored.catch(() => undefined) // it fails because it was abandoned
  }

  #addSchema({ resource, image }: ItemState): void {
    const definition = definitionOf(image)
    if (resource === '') this.#schema = definition
    else this.#resource(resource).schema = definition
  }

  #resource(name: string): Resource {
    let resource = this.#resources.get(name)
    if (resource === undefined) {
      resource = { schema: null, records: null, objects: null }
      this.#resources.set(name, resource)
    }
    return resource
  }

  #isOpenFor({ kind, resource }: Omit<Item, 'id'>): boolean {
    return this.#last?.kind === kind && this.#last.resource === resource
  }

  async #openFor({ kind, resource }: Item): Promise<void> {
    await this.#closeFile()
    this.#files++
    const readable = kind === 'record' ? recordsFile(resource) : objectsFile(resource)
    const name = this.#options.store.secrets !== undefined ? numberedFile(this.#files) : this.#distinct(readable)
    const members = new MemberFile(this.#options.level ?? LEVELS.kept)
    const stored = this.#options.store.put(`${this.#options.prefix}${name}`, members.body())
    stored.catch((error: unknown) => members.fail(error)) // thrown by the next add, or by closeFile
    this.#open = { name, members, stored }
  }

  #distinct(readable: string): string {
    let name = readable
    for (let nth = 2; this.#names.has(name.toLowerCase()); nth++) name = distinctFile(readable, nth)
    this.#names.add(name.toLowerCase())
    return name
  }

  async #closeFile(): Promise<void> {
    const open = this.#open
    const last = this.#last
    if (open === null || last === null) return
    this.#open = null
    open.members.end()
    await open.stored
    const file = { file: open.name, ...open.members.summary() }
    this.#bytes += file.bytes
    this.#members += file.members.length
    if (last.kind === 'record') {
      this.#records += file.records
      this.#resource(last.resource).records = file
    } else if (last.resource === '') this.#objects = file
    else this.#resource(last.resource).objects = file
  }
}

function definitionOf({ json, raw }: Image): SchemaDefinition {
  return { json: text(json), raw: JSON.parse(rawToJson(raw)) }
}

function outOfOrder({ resource, id }: Item): TidemarkError {
  return new TidemarkError(
    'SNAPSHOT_CORRUPT',
    `A snapshot was given ${resource}/${id} out of order; it was not finished.`,
    {
      hint: 'This is a defect of Tidemark: please report it with the output of `tidemark verify`.',
    },
  )
}
