import { hasCode } from '../base/errors.ts'
import { parseReplacedKey, REPLACED_PREFIX, replacedKey } from '../format/keys.ts'
import { sealJson, unsealJson } from '../format/sealed-json.ts'
import type { Interval } from '../model/interval.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { wrongContent } from './segment-check.ts'

/** Files that one merge has replaced, which stay for a while for those who read them. */
export interface ReplacedFiles {
  /** When they were replaced. */
  readonly ulid: Ulid
  /** How many erasures by rewriting the timeline had then: nothing that one of these took out is in them. */
  readonly erasures: number
  readonly keys: readonly string[]
  /** No event of the files is outside of it; absent: not known. */
  readonly within?: Interval
}

/** Puts the list of what a commit is about to replace. */
export async function putReplaced(store: ObjectStore, list: ReplacedFiles): Promise<void> {
  const { ulid, erasures, keys, within } = list
  const range = within === undefined ? {} : { firstUlid: within.from, lastUlid: within.through }
  await store.put(replacedKey(ulid), sealJson({ format: 1, erasures, ...range, keys }), { ifAbsent: true })
}

/** The lists of a store, oldest first. */
export async function* replacedLists(store: ObjectStore): AsyncGenerator<ReplacedFiles> {
  for await (const { key } of store.list(REPLACED_PREFIX)) {
    const list = await readReplaced(store, key).catch(ifGone)
    if (list !== null) yield list
  }
}

/** A list; null where the key is none of one. Errors: `OBJECT_CORRUPT`, and those of the store. */
export async function readReplaced(store: Pick<ObjectStore, 'get'>, key: string): Promise<ReplacedFiles | null> {
  const ulid = parseReplacedKey(key)
  if (ulid === null || !isUlid(ulid)) return null
  const { format, erasures, keys, firstUlid: from, lastUlid: through } = unsealJson(await store.get(key)) ?? {}
  if (format !== 1 || typeof erasures !== 'number' || !isTexts(keys)) throw wrongContent(key, 'it is no list of files')
  const isBetween = isUlidText(from) && isUlidText(through)
  return { ulid, erasures, keys, ...(isBetween ? { within: { from, through } } : {}) }
}

function isUlidText(value: unknown): value is Ulid {
  return typeof value === 'string' && isUlid(value)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/** Who swept at the same time has done it. */
function ifGone(error: unknown): null {
  if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
  throw error
}
