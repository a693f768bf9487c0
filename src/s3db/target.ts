import type { S3db } from 's3db.js/lite'
import { TidemarkError } from '../base/errors.ts'
import { SliceSize } from '../base/slice-size.ts'
import { type Image, type Item, imageBytes, sameImage } from '../model/event.ts'
import type { ConflictRule, Difference, ItemState, Selection, Target } from '../restore/target.ts'
import { clientOf, identityOf, isOfFiles, mapConcurrently } from './access.ts'
import { decodeStored, putParams } from './image.ts'
import { keyOfItem } from './keys.ts'
import { listItems } from './listing.ts'
import { type Expectation, LiveWrites, Newer, restoringDelete, restoringPut } from './live-writes.ts'
import { type LookedAt, lookAt } from './looking.ts'
import { endsPartitions, Partitions } from './partitions.ts'
import { Reader } from './reader.ts'
import { SchemaFit } from './schema-fit.ts'
import { dropSchemas, restoreSchemas } from './schema-restore.ts'

/** How a restore treats the database. */
export interface S3dbTargetOptions {
  /** Also what plugins store for themselves; as in `SourceOptions`. Default: false. */
  readonly pluginStorage?: boolean
  /** Translate single records by attribute name where the target has another schema. Default: false, they are refused. */
  readonly mapSchema?: boolean
  /** Objects read or written at once. Default: 16. */
  readonly concurrency?: number
}

/** What is read together of a scan: bytes of images, and items. */
const SCAN_BYTES = 8 * 1024 * 1024
const SCAN_ITEMS = 1000

const KEEP: ConflictRule = { onConflict: 'keep', tell: () => {} }

/**
 * A connected s3db.js database as the target of a restore. Objects are put back as they were stored, below the
 * resources: times, hashes, ciphertext and binary content stay what they were, and no hook or event runs. Where the
 * database is captured, the restore is captured like any other write, and each item is read again under its lock and
 * compared before it is written: what this process has written meanwhile is never overwritten unseen. What another process
 * writes between this reading and the write, the history tells at the end: see `overtaken`. A database that is not captured
 * has no locks, and nobody but the restore may write to it.
 */
export function createS3dbTarget(db: S3db, options: S3dbTargetOptions = {}): Target {
  const { pluginStorage = false, mapSchema = false, concurrency = 16 } = options
  const reader = new Reader(db, pluginStorage)
  const partitions = new Partitions(db, reader)
  const live = new LiveWrites(reader.client)
  const schemas = new SchemaFit(reader, mapSchema)
  // What is not there any more at the moment goes last: who does this again must find its records.
  const dropped: Difference[] = []
  return {
    name: identityOf(clientOf(db)),
    takes: 'differences',
    canBeTorn: isOfFiles(reader.client),
    scan: (selection) => scan(reader, selection, concurrency, partitions),
    write: async (differences, conflicts = KEEP) => {
      const changed = differences.filter(({ kind }) => kind === 'schema')
      dropped.push(...changed.filter(({ after }) => after === null))
      const kept = changed.filter(({ after }) => after !== null)
      for (const schema of kept) if (endsPartitions(db, schema)) await partitions.remove(schema.resource)
      if (kept.length > 0) await restoreSchemas({ db, reader, live }, kept, conflicts)
      const objects = differences.filter(({ kind }) => kind !== 'schema')
      await mapConcurrently(objects, concurrency, async (difference) => {
        const isWritten = await putUnlessNewer(reader, live, difference, conflicts)
        if (isWritten && difference.kind === 'record') await partitions.recordChanged(difference)
      })
    },
    finish: async (selection = {}, conflicts = KEEP) => {
      await partitions.finish(selection)
      if (dropped.length > 0) await dropSchemas({ db, reader, live }, dropped.splice(0), conflicts)
      await clearCaches(db)
    },
    fit: (states) => schemas.fit(states),
    close: async () => live.end(),
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
    write: async (differences, conflicts) => {
      await write()
      await target.write(differences, conflicts)
    },
    finish: async (selection, conflicts) => {
      await write()
      await target.finish(selection, conflicts)
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
  const slice = new SliceSize(SCAN_BYTES, SCAN_ITEMS)
  for await (const items of listItems(reader, selection.resources)) {
    for (const { kind, resource } of items) if (kind === 'record') partitions.found(resource)
    const chosen = items.filter(({ kind, id }) => kind !== 'record' || (ids?.has(id) ?? true))
    for (let at = 0; at < chosen.length; ) {
      const part = chosen.slice(at, at + slice.size)
      at += part.length
      const images = await mapConcurrently(part, concurrency, (item) => reader.image(item))
      slice.note(images.map(imageBytes))
      const states = part.flatMap((item, i) => stateOf(item, images[i] ?? null))
      if (states.length > 0) yield states
    }
  }
}

/** Nothing where the object went away since it was listed. */
function stateOf({ kind, resource, id }: Item, image: Image | null): ItemState[] {
  return image === null ? [] : [{ kind, resource, id, image }]
}

/** Resolves with false where it was left as somebody else has written it since it was compared. */
async function putUnlessNewer(
  reader: Reader,
  live: LiveWrites,
  difference: Difference,
  { onConflict, tell }: ConflictRule,
): Promise<boolean> {
  const expectation = { before: () => difference.before, isLive: (item: Item) => live.has(item) }
  try {
    await put(reader, difference, expectation)
    return true
  } catch (error) {
    if (!(error instanceof Newer)) throw error
    if (sameImage(error.now, difference.after)) return true
  }
  tell(difference)
  if (onConflict === 'keep') return false
  await put(reader, difference, null)
  return true
}

async function put({ client }: Reader, difference: Difference, expectation: Expectation): Promise<void> {
  const { resource, id, after } = difference
  const key = keyOfItem(difference)
  if (after === null) {
    await restoringDelete(client, key, expectation)
  } else if (after.raw !== null) {
    await restoringPut(client, putParams(key, decodeStored(after.raw)), expectation)
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
