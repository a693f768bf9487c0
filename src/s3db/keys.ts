import { TidemarkError } from '../base/errors.ts'
import type { Item } from '../model/event.ts'

/** Where s3db.js keeps the schemas of a database. */
export const SCHEMA_KEY = 's3db.json'
/** The schema of the database as a whole; the item that `s3db.json` itself stands for. */
export const DATABASE: Item = { kind: 'schema', resource: '', id: '' }

const RESOURCE = 'resource='
const RECORD = 'data/id='
const SEQUENCE = 'sequence='
const PLUGIN = 'plugin='

/** What is needed to read a key. `names` are the resources of `s3db.json`; it is asked only where a key is ambiguous. */
export interface KeySpace {
  readonly names: () => Iterable<string>
  /** Whether the storage of plugins (`plugin=<slug>/...`) is captured. */
  readonly pluginStorage: boolean
}

/** The key of the stored object that an item is, or is part of: the inverse of `itemOfKey`. */
export function keyOfItem({ kind, resource, id }: Item): string {
  if (kind === 'schema') return SCHEMA_KEY
  if (kind === 'record') return `${RESOURCE}${resource}/${RECORD}${id}`
  return resource === '' ? id : `${RESOURCE}${resource}/${id}`
}

/**
 * Whether a key is Unicode text. One with half of a surrogate pair has no UTF-8, so that a history cannot tell it from
 * others of the kind; nor can files or S3.
 */
export function isText(key: string): boolean {
  return key.isWellFormed()
}

/** Why something under a key that is no text is refused; `what` says of what and what it means. */
export function notText(key: string, what: string): TidemarkError {
  return new TidemarkError(
    'SOURCE_UNSUPPORTED',
    `${JSON.stringify(key)} holds half of a surrogate pair, so it is no Unicode text and has no place in a history. ${what}`,
    { hint: 'Use an id of whole characters (`id.toWellFormed()`); to delete such a record works.' },
  )
}

/**
 * The item of a key, or null where the object is derived (a partition reference), transient (a lock) or not captured.
 * `s3db.json` gives `DATABASE`.
 *
 * s3db.js forbids `/`, `\`, `=` and `%` in resource names and in ids, so in its own keys the name ends at the first
 * slash. It does not check the values in partition references (`resource=R/partition=P/f=x/data/id=1` is one), and an
 * older or foreign writer may have used other names. So where a second marker follows, the longest known resource
 * name decides for which the rest of the key is something captured; where no known name fits, the first slash, and
 * last the first `/data/id=`.
 */
export function itemOfKey(key: string, space: KeySpace): Item | null {
  if (key === SCHEMA_KEY) return DATABASE
  if (!key.startsWith(RESOURCE)) return space.pluginStorage ? pluginItem('', key) : null
  const slash = key.indexOf('/', RESOURCE.length)
  if (slash < 0) return null
  const plain = itemOfRest(key.slice(RESOURCE.length, slash), key.slice(slash + 1), space)
  return hasMarker(key, slash + 1) ? ambiguousItem(key, slash, plain, space) : plain
}

function hasMarker(key: string, from: number): boolean {
  return key.includes(`/${RECORD}`, from) || key.includes(`/${SEQUENCE}`, from) || key.includes(`/${PLUGIN}`, from)
}

function ambiguousItem(key: string, slash: number, plain: Item | null, space: KeySpace): Item | null {
  let longest = -1
  let found: Item | null = null
  for (const name of space.names()) {
    if (name.length <= longest || !key.startsWith(`${RESOURCE}${name}/`)) continue
    const item = itemOfRest(name, key.slice(RESOURCE.length + name.length + 1), space)
    // A known name for which the rest is nothing captured still says that the key is not an orphan.
    if (item === null && longest >= 0) continue
    longest = item === null ? 0 : name.length
    found = item
  }
  if (longest >= 0 || plain !== null) return longest >= 0 ? found : plain
  const rest = key.slice(slash + 1)
  const at = key.indexOf(`/${RECORD}`, slash)
  if (at < 0 || /^(partition=|historical\/|plugin=|sequence=)/.test(rest)) return null
  return { kind: 'record', resource: key.slice(RESOURCE.length, at), id: key.slice(at + 1 + RECORD.length) }
}

function itemOfRest(resource: string, rest: string, { pluginStorage }: KeySpace): Item | null {
  if (resource === '') return null // no resource of s3db.js has an empty name
  if (rest.startsWith(RECORD)) return { kind: 'record', resource, id: rest.slice(RECORD.length) }
  if (rest.startsWith(SEQUENCE)) return rest.endsWith('/value') ? { kind: 'object', resource, id: rest } : null
  return pluginStorage ? pluginItem(resource, rest) : null
}

/** Storage of a plugin, without its locks: those of another process must never come back to life. */
function pluginItem(resource: string, rest: string): Item | null {
  if (!rest.startsWith(PLUGIN) || /^plugin=[^/]*\/(locks\/|sequence=.*\/lock$)/s.test(rest)) return null
  return { kind: 'object', resource, id: rest }
}
