import { TidemarkError } from '../base/errors.ts'
import type { Source } from '../capture/source.ts'
import { clientOf, identityOf, isVolatile } from './access.ts'
import type { Database, StorageClient } from './client.ts'
import { intercept } from './interception.ts'
import { listItems } from './listing.ts'
import { Reader } from './reader.ts'

/** What of a database is captured. */
export interface SourceOptions {
  /** Also what plugins store for themselves (`plugin=<slug>/...`), without their locks. Default: false. */
  readonly pluginStorage?: boolean
}

const attached = new WeakSet<StorageClient>()

/**
 * A connected s3db.js database as a source: its writes are captured where all of them pass, at the methods of its
 * storage client. s3db.js may give a database another client when it connects again; attach again then.
 */
export function createSource(db: Database, options: SourceOptions = {}): Source {
  const { pluginStorage = false } = options
  const reader = new Reader(db, pluginStorage)
  const identity = identityOf(clientOf(db))
  return {
    identity,
    volatile: isVolatile(clientOf(db)),
    attach: (sink) => {
      const client = clientOf(db)
      if (attached.has(client)) {
        throw new TidemarkError(
          'SOURCE_ATTACHED',
          `${identity} is captured already; twice would record every write twice.`,
          {
            hint: 'Use the capture that is running, or stop it first.',
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
    },
    items: (resources) => listItems(reader, resources),
    read: (item) => reader.image(item),
  }
}
