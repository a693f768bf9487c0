import type { S3db } from 's3db.js/lite'
import { TidemarkError } from '../base/errors.ts'
import type { Image, Item } from '../model/event.ts'
import type { Difference, ItemState, Selection, Target } from '../restore/target.ts'
import { clientOf, identityOf, mapConcurrently } from './access.ts'
import { decodeStored, putParams } from './image.ts'
import { keyOfItem } from './keys.ts'
import { listItems } from './listing.ts'
import { type LookedAt, lookAt } from './looking.ts'
import { endsPartitions, Partitions } from './partitions.ts'
import { Reader } from './reader.ts'
import { restoreSchemas } from './schema-restore.ts'

/** How a restore treats the database. */
export interface S3dbTargetOptions {
  /** Also what plugins store for themselves; as in `SourceOptions`. Default: false. */
  readonly pluginStorage?: boolean
  /** Objects read or written at once. Default: 16. */
  readonly concurrency?: number
}

/**
 * A connected s3db.js database as the target of a restore. Objects are put back as they were stored, below the
 * resources: times, hashes, ciphertext and binary content stay what they were, and no hook or event runs. Where the
 * database is captured, the restore is captured like any other write.
 */
export function createS3dbTarget(db: S3db, options: S3dbTargetOptions = {}): Target {
  const { pluginStorage = false, concurrency = 16 } = options
  const reader = new Reader(db, pluginStorage)
  const partitions = new Partitions(db, reader)
  // What is not there any more at the moment goes last: who does this again must find its records.
  const dropped: Difference[] = []
  return {
    name: identityOf(clientOf(db)),
    takes: 'differences',
    scan: (selection) => scan(reader, selection, concurrency, partitions),
    write: async (differences) => {
      const schemas = differences.filter(({ kind }) => kind === 'schema')
      dropped.push(...schemas.filter(({ after }) => after === null))
      const kept = schemas.filter(({ after }) => after !== null)
      for (const schema of kept) if (endsPartitions(db, schema)) await partitions.remove(schema.resource)
      if (kept.length > 0) await restoreSchemas(db, reader, kept)
      const objects = differences.filter(({ kind }) => kind !== 'schema')
      await mapConcurrently(objects, concurrency, async (difference) => {
        await put(reader, difference)
        if (difference.kind === 'record') await partitions.recordChanged(difference)
      })
    },
    finish: async (selection) => {
      await partitions.finish(selection)
      if (dropped.length > 0) await restoreSchemas(db, reader, dropped.splice(0))
      await clearCaches(db)
    },
    close: async () => {},
  }
}

/** Opens a database of its own by connection string (memory://, file://, s3://); `close` disconnects it. */
export async function openS3dbTarget(connectionString: string, options: S3dbTargetOptions = {}): Promise<Target> {
  const looked = await lookAt(connectionString)
  return { ...writtenLater(looked, createS3dbTarget(looked.db, options)), close: () => looked.db.disconnect() }
}

/** The same target, whose database is not written to before there is something to write. */
export function writtenLater({ write }: LookedAt, target: Target): Target {
  return {
    ...target,
    write: async (differences) => {
      await write()
      await target.write(differences)
    },
    finish: async (selection) => {
      await write()
      await target.finish(selection)
    },
  }
}

async function* scan(
  reader: Reader,
  selection: Selection,
  concurrency: number,
  partitions: Partitions,
): AsyncGenerator<readonly ItemState[]> {
  const ids = selection.ids === undefined ? null : new Set(selection.ids)
  for await (const items of listItems(reader, selection.resources)) {
    for (const { kind, resource } of items) if (kind === 'record') partitions.found(resource)
    const chosen = items.filter(({ kind, id }) => kind !== 'record' || (ids?.has(id) ?? true))
    const images = await mapConcurrently(chosen, concurrency, (item) => reader.image(item))
    const states = chosen.flatMap((item, i) => stateOf(item, images[i] ?? null))
    if (states.length > 0) yield states
  }
}

/** Nothing where the object went away since it was listed. */
function stateOf({ kind, resource, id }: Item, image: Image | null): ItemState[] {
  return image === null ? [] : [{ kind, resource, id, image }]
}

async function put({ client }: Reader, { kind, resource, id, after }: Difference): Promise<void> {
  const key = keyOfItem({ kind, resource, id })
  if (after === null) {
    await client.deleteObject(key)
  } else if (after.raw !== null) {
    await client.putObject(putParams(key, decodeStored(after.raw)))
  } else {
    throw new TidemarkError(
      'TARGET_INVALID',
      `The image of ${resource}/${id} has no raw part, so it cannot be put back.`,
      {
        hint: 'Restore to a directory instead: the JSON of the record is readable there.',
      },
    )
  }
}

/** What the cache plugin holds is of before the restore. */
async function clearCaches(db: S3db): Promise<void> {
  for (const plugin of Object.values(db.plugins)) {
    if ('clearAllCache' in plugin && typeof plugin.clearAllCache === 'function') await plugin.clearAllCache()
  }
}
