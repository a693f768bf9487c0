import { equalBytes } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import type { ObjectStore } from './object-store.ts'

/** A page of a listing is about this long; beyond it the search gallops instead of listing on. */
const LISTED_AT_ONCE = 1000

/** How the numbered files of a log are named: `name` and `parse` are inverse, and names sort as numbers do. */
export interface GenerationNames {
  readonly prefix: string
  name(generation: number): string
  parse(key: string): number | null
}

/**
 * The greatest generation in the store, or `known` where nothing came after it. One listing request as long as few
 * generations came since `known`, a logarithmic number of them otherwise; then the next one is asked for by its key,
 * because a listing may be behind what was put.
 */
export async function latestGeneration(store: ObjectStore, names: GenerationNames, known = 0): Promise<number> {
  return latestBeyond(store, names, await latestListed(store, names, known))
}

/** The same as far as a listing shows it: it may be behind what was put. */
export async function latestListed(store: ObjectStore, names: GenerationNames, known = 0): Promise<number> {
  let latest = known
  for (let step = LISTED_AT_ONCE; ; ) {
    const page = await firstPage(store, names, latest)
    if (page.last === null) return latest
    latest = page.last
    if (page.count < LISTED_AT_ONCE) return latest
    while ((await firstPage(store, names, latest + step, 1)).last !== null) {
      latest += step
      step *= 2
    }
    step = Math.max(LISTED_AT_ONCE, Math.floor(step / 4))
  }
}

/**
 * The last of the numbers without a hole that begin with `listed`, the last that a listing showed (0: none). One request
 * where the listing was right.
 */
export async function latestBeyond(
  store: ObjectStore,
  names: Pick<GenerationNames, 'name'>,
  listed: number,
): Promise<number> {
  const exists = async (generation: number): Promise<boolean> => (await store.head(names.name(generation))) !== null
  let latest = listed
  let step = 1
  for (; await exists(latest + step); step *= 2) latest += step
  // `latest + step` is missing: halved until it is the very next.
  for (step /= 2; step >= 1; step /= 2) if (await exists(latest + step)) latest += step
  return latest
}

/** Whether a listing shows a generation behind this one. One request. */
export async function hasLater(store: ObjectStore, names: GenerationNames, generation: number): Promise<boolean> {
  return (await firstPage(store, names, generation, 1)).last !== null
}

async function firstPage(
  store: ObjectStore,
  names: GenerationNames,
  after: number,
  most = LISTED_AT_ONCE,
): Promise<{ count: number; last: number | null }> {
  let count = 0
  let last: number | null = null
  for await (const { key } of store.list(names.prefix, { startAfter: names.name(after) })) {
    const generation = names.parse(key)
    if (generation === null) continue
    last = generation
    if (++count >= most) break
  }
  return { count, last }
}

/**
 * Claims `generation` for these bytes: the commit point. False where another writer was first. Nobody else writes the
 * same bytes: what is there and equal is our own put, whose answer was lost on the way.
 */
export async function claimGeneration(
  store: ObjectStore,
  names: GenerationNames,
  generation: number,
  bytes: Uint8Array,
): Promise<boolean> {
  try {
    await store.put(names.name(generation), bytes, { ifAbsent: true })
    return true
  } catch (error) {
    if (!hasCode(error, 'OBJECT_EXISTS')) throw error
  }
  try {
    return equalBytes(await store.get(names.name(generation)), bytes)
  } catch (error) {
    // Whoever was first has long gone on, and old files go.
    if (hasCode(error, 'OBJECT_NOT_FOUND')) return false
    throw error
  }
}
