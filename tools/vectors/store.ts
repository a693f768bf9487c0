import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { DrillProof } from '../../src/format/drill-file.ts'
import type { Item } from '../../src/model/event.ts'
import { formatHead } from '../../src/model/head.ts'
import type { Moment } from '../../src/restore/moment.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { user } from './content.ts'
import { nameOf, StepClock, type Written } from './database.ts'
import { digestsOf } from './digests.ts'
import {
  type ExpectedEvent,
  type ExpectedHistory,
  type ExpectedState,
  type ExpectedStore,
  eventOf,
  imageOf,
  lay,
  rowOf,
  type ToldChange,
} from './expected.ts'
import { mergeSegments } from './merge.ts'
import { layInNodes } from './nodes.ts'
import { Story } from './story.ts'

/** A store that is made, and what is special about it. */
export interface VectorStore {
  readonly name: string
  readonly spec: Omit<StoreSpec, 'url'>
  readonly erase: 'keys' | 'rewritten'
  readonly acknowledged: boolean
  /** Whether most of its catalogue stands in nodes. */
  readonly inNodes: boolean
  /** Whether all segments but the last are merged into a run before the record is erased. */
  readonly isMerged?: boolean
}

const ERASED = user('eve')

/** Tells the story into a store, and writes what must be read from it, `expected.json`, beside it. */
export async function makeStore(work: string, made: string, { name, spec, ...end }: VectorStore): Promise<void> {
  const clock = new StepClock()
  const directory = `${work}/${name}`
  const store = { url: `file:${directory}/store`, ...spec }
  const story = new Story({ directory, store, clock })
  await story.tell()
  if (end.inNodes) await layInNodes(`${directory}/store`)
  if (end.isMerged === true) await mergeSegments(`${directory}/store`, clock.step())
  const tidemark = await Tidemark.open({ store }, clock)
  clock.step()
  if (end.acknowledged) await acknowledge(tidemark, 'the store was away')
  await tidemark.erase(ERASED.resource, ERASED.id, { reason: 'asked to be forgotten', by: 'clerk', mode: end.erase })
  clock.step()
  const [drill] = await tidemark.drill({ at: story.told.at(-1)?.moment ?? 'latest' })
  const found = await expectedOf(tidemark, story, end.acknowledged)
  if (drill?.passed !== true) throw new Error('the drill failed')
  await tidemark.close()
  const digests = await digestsOf(`${directory}/store`, store)
  const expected: ExpectedStore = { ...found, drill: provenBy(drill), digests }
  for (const part of ['store', 'keyring']) {
    rmSync(`${directory}/${part}/.tmp`, { recursive: true, force: true })
    const isThere = part === 'store' || spec.recordKeys !== undefined
    if (isThere) cpSync(`${directory}/${part}`, `${made}/${name}/${part}`, { recursive: true })
  }
  writeFileSync(`${made}/${name}/expected.json`, `${lay(expected)}\n`)
}

/** What a drill has proven, as `expected.json` has it. */
export function provenBy({ moment, resources }: DrillProof): ExpectedStore['drill'] {
  return { moment, hashes: resources.map(({ resource, items, hash }) => [resource, items, hash] as const) }
}

/** Acknowledges every gap of a store. */
export async function acknowledge(tidemark: Tidemark, reason: string): Promise<void> {
  for (const { stream, firstSequence, lastSequence } of await tidemark.gaps()) {
    await tidemark.acknowledgeGap({ stream, firstSequence, lastSequence, reason, name: 'ops' })
  }
}

/** What must be read of a history that was told. */
export async function expectedOf(
  tidemark: Tidemark,
  story: Pick<Story, 'told' | 'recorded'>,
  acknowledged: boolean,
): Promise<Omit<ExpectedStore, 'drill' | 'digests'>> {
  const { epochs, streams, snapshots } = await tidemark.status()
  const gaps = (await tidemark.gaps()).map(({ interval: _, ...gap }) => gap)
  const states: ExpectedState[] = []
  for (const { label, moment, states: told } of story.told) {
    const isReachable = acknowledged || label !== 'while nothing is recorded'
    const items = isReachable ? told.filter((one) => nameOf(one) !== nameOf(ERASED)).map(rowOf) : null
    states.push({ label, moment, bound: await boundOf(tidemark, moment), items })
  }
  return {
    head: formatHead(await tidemark.head()),
    latest: await boundOf(tidemark, 'latest'),
    epochs: epochs.map(({ epoch, restored }) => [epoch, restored] as const),
    snapshots: snapshots.map(({ ulid, records }) => [ulid, records] as const),
    streams: streams.map(({ id, lastSequence, chain }) => ({ id, lastSequence, chain })),
    gaps,
    states,
    histories: await historiesOf(tidemark, story, acknowledged),
  }
}

async function boundOf(tidemark: Tidemark, moment: Moment): Promise<string> {
  const { ulid } = (await tidemark.reachable(moment)).moment
  if (ulid === null) throw new Error(`${JSON.stringify(moment)} is no moment of this store`)
  return ulid
}

/** Every item that events are about, with its events: as they were written, with the stamps that they got. */
async function historiesOf(
  tidemark: Tidemark,
  story: Pick<Story, 'recorded'>,
  acknowledged: boolean,
): Promise<ExpectedHistory[]> {
  const items = new Map<string, { item: Item; written: Written[] }>()
  for (const one of story.recorded) {
    const { kind, resource, id } = one
    if (nameOf(one) === nameOf(ERASED) || id === 'padding') continue
    const entry = items.get(nameOf(one)) ?? { item: { kind, resource, id }, written: [] }
    entry.written.push(one)
    items.set(nameOf(one), entry)
  }
  const found: ExpectedHistory[] = []
  for (const { item, written } of items.values()) {
    const events: ExpectedEvent[] = []
    if (acknowledged) {
      for await (const event of tidemark.history(item.resource, item.id, item.kind)) events.push(eventOf(event))
      const told = events.filter(isWritten).map(({ before, after, context }) => ({ before, after, context }))
      if (JSON.stringify(told) !== JSON.stringify(written.map(toldOf)))
        throw new Error(`${nameOf(item)} has another history`)
    }
    found.push({ ...item, events: acknowledged ? events : written.map(toldOf) })
  }
  return found
}

function toldOf({ before, after, context }: Written): ToldChange {
  const { actor, transaction, metadata } = context
  return { before: before && imageOf(before), after: after && imageOf(after), context: [actor, transaction, metadata] }
}

/** Not so for a write that was found: nobody told of it. */
function isWritten({ context: [, , metadata] }: ExpectedEvent): boolean {
  return metadata?.startsWith('{"tidemark":') !== true
}
