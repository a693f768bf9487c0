import { TidemarkError } from '../base/errors.ts'
import { RecordKeys } from '../capture/record-keys.ts'
import type { StoreFile } from '../format/store-file.ts'
import type { Environment } from '../store/encryption/secret.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { describeStore, openStore, type StoreSpec } from '../store/open.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { Ack } from './streams.ts'

/** Where the keyring of a store is. */
export interface KeyringPlace {
  readonly keys: ObjectStore
  /** For people, without secrets. */
  readonly name: string
}

/**
 * Where the options, or else `TIDEMARK_RECORD_KEYS`, want the keyring; null where neither says anything. Errors:
 * `OPTION_INVALID` where it would be inside the store or the store inside it, or where options are for stores only.
 */
export async function keyringPlace(
  store: string | StoreSpec,
  environment: Environment,
  over: (store: ObjectStore) => ObjectStore,
): Promise<KeyringPlace | null> {
  const given = typeof store === 'string' ? undefined : store.recordKeys
  const spec = given ?? environment.TIDEMARK_RECORD_KEYS
  if (spec === undefined || spec === '') return null
  const other = typeof spec === 'string' ? undefined : ['recordKeys', 'encryption'].find((member) => member in spec)
  if (other !== undefined) {
    throw invalid(
      `recordKeys has no option ${other}`,
      'Give a URL, or url with endpoint, region, credentials and pathStyle.',
    )
  }
  const [name, storeName] = [describeStore(spec), describeStore(store)]
  if (isInside(name, storeName) || isInside(storeName, name)) {
    throw invalid(
      'they are to be in the store itself, and its copies would have them',
      'Give recordKeys a bucket or a directory of its own, of which no copies are kept.',
    )
  }
  return { keys: over(await openStore(spec)), name }
}

/** What the record keys of a store are opened with. */
export interface RecordKeysOpening {
  readonly place: { readonly name: string; readonly keyring: KeyringPlace | null }
  readonly file: StoreFile
  readonly timeline: TimelineLog
  readonly ack: Ack
  /** For capturing, with a timeline that was `read` or is `unread`: read, the keyring of a store that is new is made. Else null. */
  readonly capturing: 'read' | 'unread' | null
}

/**
 * Opens the keyring of a store; null where it has none. Errors: `RECORD_KEYS_NEEDED` where no place was given,
 * `RECORD_KEYS_FOREIGN` where the store was made without, `RECORD_KEYS_LOST`; `OPTION_INVALID` with `ack: 'store'`.
 */
export async function openRecordKeys(opening: RecordKeysOpening): Promise<RecordKeys | null> {
  const { place, file, timeline, ack, capturing } = opening
  if (place.keyring === null) {
    if (file.recordKeys) throw needed(place.name)
    return null
  }
  if (!file.recordKeys) throw foreign(place.name)
  if (capturing !== null && ack === 'store') {
    throw invalid(
      "with ack: 'store' the journal is in the store, where its images could not be erased",
      "Use ack: 'journal'.",
    )
  }
  const recordKeys = new RecordKeys({ ...place.keyring, store: file.id, timeline })
  // Which one is in force, the timeline says.
  if (capturing === 'unread') return recordKeys
  if (capturing === 'read') await recordKeys.create()
  await recordKeys.current()
  return recordKeys
}

/** Places as `describeStore` tells them: on the same server, one path at or below the other. */
function isInside(inner: string, outer: string): boolean {
  const [innerPath = '', ...innerServer] = inner.split(' ')
  const [outerPath = '', ...outerServer] = outer.split(' ')
  const below = innerPath === outerPath || innerPath.startsWith(`${outerPath}/`)
  return below && innerServer.join(' ') === outerServer.join(' ')
}

function needed(name: string): TidemarkError {
  return new TidemarkError(
    'RECORD_KEYS_NEEDED',
    `The records in the store at ${name} are sealed with keys that are kept elsewhere, and where was not said. Nothing was read.`,
    { hint: 'Set TIDEMARK_RECORD_KEYS to that place, or in code store: { url, recordKeys }.' },
  )
}

function foreign(name: string): TidemarkError {
  return new TidemarkError(
    'RECORD_KEYS_FOREIGN',
    `Record keys were given, and the store at ${name} was made without them. Nothing was captured or read.`,
    { hint: 'Leave recordKeys (TIDEMARK_RECORD_KEYS) out, or capture into a new place, which is then made with them.' },
  )
}

function invalid(why: string, hint: string): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `The record keys cannot be used so: ${why}. Nothing was started.`, {
    hint,
  })
}
