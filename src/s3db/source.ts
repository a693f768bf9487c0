import { TidemarkError } from '../base/errors.ts'
import { shared } from '../base/shared.ts'
import type { Sink, Source } from '../capture/source.ts'
import type { Item } from '../model/event.ts'
import { clientOf, identityOf, isLocal, isVolatile } from './access.ts'
import type { Database, DatabaseMetadata, StorageClient } from './client.ts'
import { EarlyWrites } from './early-writes.ts'
import { Gate } from './gate.ts'
import { intercept } from './interception.ts'
import { itemOfKey, SCHEMA_KEY } from './keys.ts'
import { listItems } from './listing.ts'
import { Reader } from './reader.ts'

/** What of a database is captured. */
export interface SourceOptions {
  /** Also what plugins store for themselves (`plugin=<slug>/...`), without their locks. Default: false. */
  readonly pluginStorage?: boolean
}

/** A source whose writes are held before there is a capture, and refused after it. */
export interface HeldSource extends Source {
  /** Whose writes they are. */
  readonly client: StorageClient
  /** Reads what is needed to tell what objects mean while the database is still connecting. */
  prepare(): Promise<void>
  /** Holds every write from now on until `attach`; it ends what `refuse` began. */
  hold(): void
  /** Refuses every write from now on, those that are held too, before they touch the database. */
  refuse(error: TidemarkError): void
  /** Lets the client go: its writes pass again, uncaptured. Nothing may be held any more. */
  release(): void
}

const attached = shared('attached', () => new WeakSet<StorageClient>())

/**
 * A connected s3db.js database as a source: its writes are captured where all of them pass, at the methods of its
 * storage client. s3db.js may give a database another client when it connects again; attach again then.
 */
export function createSource(db: Database, options: SourceOptions = {}): Source {
  const { pluginStorage = false } = options
  const reader = new Reader(db, pluginStorage)
  return {
    ...readingOf(clientOf(db), reader),
    attach: (sink) => interceptOnce(clientOf(db), reader, sink),
  }
}

/**
 * As `createSource`, and from the call on every write waits until the source is attached; when that ends, writes are
 * refused with `CAPTURE_CLOSED`. The database may still be connecting. `missed` is called with what a write has changed
 * that was under way at the call and passed by. Errors: `SOURCE_ATTACHED`.
 */
export function holdWrites(db: Database, options: SourceOptions, missed: (item: Item) => void): HeldSource {
  const client = clientOf(db)
  let stored: DatabaseMetadata | null = null
  const view: Database = {
    client,
    get resources() {
      return db.resources
    },
    // s3db.js has none while it connects, although its plugins write already.
    get savedMetadata() {
      return db.savedMetadata ?? stored
    },
  }
  const reader = new Reader(view, options.pluginStorage ?? false)
  const early = new EarlyWrites(client, (key) => {
    const item = itemOfKey(key, reader.space)
    if (item !== null) missed(item)
  })
  const gate = new Gate(early)
  const detach = interceptOnce(client, reader, gate)
  return {
    ...readingOf(client, reader),
    client,
    prepare: async () => {
      stored = metadataOf(await reader.text(SCHEMA_KEY))
    },
    attach: (sink) => {
      gate.open(sink)
      return () => gate.refuse(captureClosed())
    },
    hold: () => gate.hold(),
    refuse: (error) => gate.refuse(error),
    release: () => {
      early.end()
      detach()
    },
  }
}

function readingOf(client: StorageClient, reader: Reader): Omit<Source, 'attach'> {
  return {
    identity: identityOf(client),
    volatile: isVolatile(client),
    // s3db.js writes and renames files, and syncs none of them.
    isUnsynced: isLocal(client) && !isVolatile(client),
    items: (resources) => listItems(reader, resources),
    read: (item) => reader.image(item),
  }
}

function interceptOnce(client: StorageClient, reader: Reader, sink: Sink): () => void {
  if (attached.has(client)) {
    throw new TidemarkError(
      'SOURCE_ATTACHED',
      `${identityOf(client)} is captured already; twice would record every write twice. Nothing was changed.`,
      {
        hint: 'Use the capture that is running, or end it first with db.uninstallPlugin.',
      },
    )
  }
  attached.add(client)
  const detach = intercept(client, reader, sink)
  let done = false
  return () => {
    if (done) return
    done = true
    detach()
    attached.delete(client)
  }
}

/** Null where it is damaged: s3db.js mends it when it connects. */
function metadataOf(json: string | null): DatabaseMetadata | null {
  if (json === null) return null
  try {
    return JSON.parse(json) as DatabaseMetadata
  } catch {
    return null
  }
}

/** The error for writes after the end of their capture. */
export function captureClosed(): TidemarkError {
  return new TidemarkError(
    'CAPTURE_CLOSED',
    'The capture of this database has ended; the write was refused and nothing was changed.',
    { hint: 'Write before db.disconnect(); or connect again; or write without a backup after db.uninstallPlugin.' },
  )
}
