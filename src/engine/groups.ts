import { EMPTY, utf8 } from '../base/bytes.ts'
import type { Image } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import { MIN_ULID } from '../model/ulid.ts'
import { compareStates } from '../restore/difference.ts'
import { type MergedItem, mergeRuns, type StampedItem } from '../restore/merge.ts'
import { Passes } from '../restore/passes.ts'
import { spillRun } from '../restore/spill.ts'
import type { ItemState } from '../restore/target.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { ScratchSpace } from './scratch.ts'

/** A name with one value of its own. */
export type NamedValue = readonly [name: string, value: string]
/** A name with all its values. */
export type Group = readonly [name: string, values: readonly string[]]

/** How pairs are sorted. */
export interface Sorting {
  /** Characters that are sorted in memory; more are sorted in parts, over scratch space. Default: 4 Mi. */
  readonly characters?: number
  /** Local space, asked for only where it is needed. Absent: one of its own, which goes in the end. */
  readonly scratch?: () => ObjectStore
}

const SORTED_CHARACTERS = 4 * 1024 * 1024
/** About what a pair takes besides its characters. */
const PAIR_CHARACTERS = 100
/** Bytes of the parts that are merged at a time. */
const MERGED_BYTES = 16 * 1024 * 1024
const BATCH = 1000

const NO_IMAGE: Image = { json: EMPTY, raw: null }

/**
 * Groups pairs by name, however many there are, and joins them with `names`, which come in the order of their UTF-8: each
 * name of either once, in that order, those that have no pair with no values.
 */
export async function* groupedBy(
  names: AsyncIterable<readonly string[]>,
  pairs: AsyncIterable<readonly NamedValue[]>,
  { characters = SORTED_CHARACTERS, scratch }: Sorting = {},
): AsyncGenerator<readonly Group[]> {
  const own = new ScratchSpace()
  try {
    const groups = grouped(sortedPairs(pairs, characters, scratch ?? (() => own.store)))
    // Those of a name differ from what stands for it alone, so that each comes as a difference.
    for await (const { differences } of compareStates(statesOf(groups), statesOf(alone(names)))) {
      yield differences.map(({ id, before }) => [id, before === null ? [] : valuesOf(before)])
    }
  } finally {
    own.close()
  }
}

/** In a form that a merge sorts by name, and then by value: as if the name were a resource. */
async function* sortedPairs(
  pairs: AsyncIterable<readonly NamedValue[]>,
  characters: number,
  scratch: () => ObjectStore,
): AsyncGenerator<readonly MergedItem[]> {
  const passes = new Passes(scratch, MERGED_BYTES)
  let items: StampedItem[] = []
  let [size, parts] = [0, 0]
  const sorted = (): AsyncIterable<readonly StampedItem[]> => batches(items.sort(compareItems))
  const putAway = async (): Promise<void> => {
    await passes.add(await spillRun(scratch(), `part-${parts++}`, sorted()))
    items = []
    size = 0
  }
  try {
    for await (const batch of pairs) {
      for (const [name, value] of batch) {
        items.push({ kind: 'object', resource: name, id: value, image: NO_IMAGE, ulid: MIN_ULID })
        size += name.length + value.length + PAIR_CHARACTERS
      }
      if (size >= characters) await putAway()
    }
    if (parts > 0) await putAway()
  } catch (error) {
    for (const run of passes.rest) await run.close()
    throw error
  }
  yield* parts === 0 ? sorted() : mergeRuns(passes.rest)
}

async function* batches(items: readonly StampedItem[]): AsyncGenerator<readonly StampedItem[]> {
  for (let at = 0; at < items.length; at += BATCH) yield items.slice(at, at + BATCH)
}

async function* grouped(sorted: AsyncIterable<readonly MergedItem[]>): AsyncGenerator<readonly Group[]> {
  let last: readonly [string, string[]] | null = null
  for await (const batch of sorted) {
    const whole: Group[] = []
    for (const { resource: name, id: value } of batch) {
      if (last !== null && last[0] === name) last[1].push(value)
      else {
        if (last !== null) whole.push(last)
        last = [name, [value]]
      }
    }
    yield whole
  }
  if (last !== null) yield [last]
}

async function* alone(names: AsyncIterable<readonly string[]>): AsyncGenerator<readonly Group[]> {
  for await (const batch of names) yield batch.map((name) => [name, []])
}

async function* statesOf(groups: AsyncIterable<readonly Group[]>): AsyncGenerator<readonly ItemState[]> {
  for await (const batch of groups) {
    yield batch.map(([id, values]) => {
      const image = { json: utf8(JSON.stringify(values)), raw: null }
      return { kind: 'record', resource: '', id, image }
    })
  }
}

function valuesOf({ json }: Image): readonly string[] {
  return JSON.parse(Buffer.from(json).toString('utf8'))
}
