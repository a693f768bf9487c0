import { text } from '../base/bytes.ts'
import type { Image, Item } from '../model/event.ts'
import type { Version } from '../model/fold.ts'
import { sameSince } from '../restore/gaps.ts'
import { type Before, findRecent, findVersion } from '../restore/lookup.ts'
import type { Moment } from '../restore/moment.ts'
import { type Plan, planRestore, startOfPlan } from '../restore/plan.ts'
import { replay } from '../restore/replay.ts'
import type { ItemState, Selection } from '../restore/target.ts'
import { knownBetween } from '../timeline/segments.ts'
import type { Archive, Located } from './archive.ts'
import { nearestRecords, noResource, requireEver } from './names.ts'
import { checkName } from './options.ts'

/** A record as JSON has it: attributes by name. */
export type JsonRecord = { readonly [name: string]: unknown }

/** The database as it was at a moment, for reading. The moment is resolved once, at the first call. */
export class View {
  readonly #archive: Archive
  readonly #moment: Moment
  #located: Promise<Located> | null = null
  #plan: Promise<Plan> | null = null
  #before: Promise<Before> | null = null

  constructor(archive: Archive, moment: Moment) {
    this.#archive = archive
    this.#moment = moment
  }

  /**
   * One record, or null where it did not exist then. Errors: those of a moment; `SEGMENT_CORRUPT`, `SNAPSHOT_CORRUPT`;
   * `RESOURCE_NOT_FOUND` where there was no such resource, then or later.
   */
  async get(resource: string, id: string): Promise<JsonRecord | null> {
    checkName('get', 'resource', resource)
    checkName('get', 'id', id)
    const item = { kind: 'record', resource, id } as const
    const version = (await this.#recent(item)) ?? (await this.#find(item))
    if (version !== null) return version.image === null ? null : parse(version.image)
    await requireEver(this.#archive, await this.#planned(), resource)
    return null
  }

  /** What was changed last needs no plan, for which the catalogue is read. */
  async #recent(item: Item): Promise<Version | null> {
    if (this.#plan !== null) return null
    const { bound, timeline } = await this.#locate()
    const { snapshot } = startOfPlan(timeline, bound.ulid)
    const between = { after: snapshot.ulid, through: bound.ulid }
    return findRecent(this.#archive.sources, timeline.segments, between, item)
  }

  async #find(item: Item): Promise<Version | null> {
    const { sources } = this.#archive
    return findVersion(sources, await this.#planned(), item, await this.#known())
  }

  #known(): Promise<Before> {
    const { nodes } = this.#archive.sources
    this.#before ??= Promise.all([this.#locate(), this.#planned()]).then(([{ timeline }, plan]) => {
      // Segments have events from before the snapshot where they were merged.
      const from = plan.segments.reduce((least, { firstUlid }) => (firstUlid < least ? firstUlid : least), plan.moment)
      return {
        since: sameSince(timeline, plan, plan.moment, from),
        between: (after, through) => knownBetween(nodes, timeline.segments, after, through),
      }
    })
    return this.#before
  }

  /**
   * What a record that was not there was probably meant to be: names of the form resource/id, at most five. Of a large
   * resource, the first 10,000 records are looked at.
   */
  async near(resource: string, id: string): Promise<readonly string[]> {
    return nearestRecords(this.#archive, await this.#planned(), resource, id)
  }

  /** Every record of a resource, by the UTF-8 bytes of the ids. Errors: also `RESOURCE_NOT_FOUND`. */
  async *list(resource: string): AsyncGenerator<JsonRecord> {
    for await (const state of this.#states(resource)) {
      if (state.kind === 'record') yield parse(state.image)
    }
  }

  /** How many records a resource had. Errors: also `RESOURCE_NOT_FOUND`. */
  async count(resource: string): Promise<number> {
    let count = 0
    for await (const state of this.#states(resource)) if (state.kind === 'record') count++
    return count
  }

  /** The names of the resources, by UTF-8 bytes. */
  async resources(): Promise<string[]> {
    const names = new Set<string>()
    for await (const batch of replay(this.#archive.sources, await this.#planned(), {})) {
      for (const { resource } of batch) if (resource !== '') names.add(resource)
    }
    return [...names]
  }

  /** Everything there was, in the order of a snapshot: what the oracle of a test, or an export, reads. */
  async *states(selection: Selection = {}): AsyncGenerator<ItemState> {
    for await (const batch of replay(this.#archive.sources, await this.#planned(), selection)) yield* batch
  }

  async *#states(resource: string): AsyncGenerator<ItemState> {
    checkName('at', 'resource', resource)
    let found = false
    for await (const state of this.states({ resources: [resource] })) {
      found = true
      yield state
    }
    if (!found) throw await noResource(this.#archive, await this.#planned(), resource)
  }

  #planned(): Promise<Plan> {
    const { sources } = this.#archive
    this.#plan ??= this.#locate().then(({ bound, timeline }) => planRestore(sources.nodes, timeline, bound.ulid))
    return this.#plan
  }

  #locate(): Promise<Located> {
    this.#located ??= this.#archive.locate(this.#moment, 'listed')
    return this.#located
  }
}

function parse(image: Image): JsonRecord {
  return JSON.parse(text(image.json)) as JsonRecord
}
