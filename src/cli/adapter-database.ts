import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Source } from '../capture/source.ts'
import type { Adapter, AdapterDatabase } from '../engine/adapter.ts'
import { checkSource } from '../engine/options.ts'
import { Tidemark } from '../engine/tidemark.ts'
import type { Target } from '../restore/target.ts'
import type { CapturedDatabase, CaptureRequest, OpenDatabase } from './adapter.ts'

/** A database that an adapter has opened, as the commands use it. */
export class OpenedByAdapter implements OpenDatabase {
  readonly identity: string
  readonly source: Source
  readonly isEmpty: boolean
  readonly #database: AdapterDatabase
  readonly #mapSchema: boolean
  #tidemark: Tidemark | null = null

  private constructor(database: AdapterDatabase, isEmpty: boolean, mapSchema: boolean) {
    this.#database = database
    this.#mapSchema = mapSchema
    this.source = database.source
    this.identity = database.source.identity
    this.isEmpty = isEmpty
  }

  /** Connects, without writing. Errors: `TARGET_INVALID`, and `OPTION_INVALID` for what is no source. */
  static async open(adapter: Adapter, connectionString: string, mapSchema: boolean): Promise<OpenedByAdapter> {
    const database = await connected(adapter, connectionString)
    try {
      checkSource('the adapter', database.source)
      return new OpenedByAdapter(database, await isEmpty(database.source), mapSchema)
    } catch (error) {
      await database.close()
      throw error
    }
  }

  async openTarget(): Promise<Target> {
    const target = await this.#database.openTarget({ mapSchema: this.#mapSchema })
    if (!this.#mapSchema || target.fit !== undefined) return target
    await target.close()
    throw new TidemarkError(
      'OPTION_INVALID',
      `${target.name} has no schemas that records could be translated into. Nothing was done.`,
      { hint: 'Leave --map-schema out.' },
    )
  }

  async capture({ store, database, journal, memory }: CaptureRequest): Promise<CapturedDatabase> {
    const { source } = this
    this.#tidemark ??= await Tidemark.capture({
      store,
      source,
      database,
      // It is not what the command was called for, and may take longer than that.
      snapshots: false,
      compaction: false,
      ...(journal === undefined ? {} : { journal }),
      ...(memory === undefined ? {} : { memory }),
    })
    const tidemark = this.#tidemark
    return {
      restoreInPlace: async (moment, options) =>
        tidemark.restoreAt(moment, { ...options, target: await this.openTarget(), inPlace: true }),
      reconcile: (options) => tidemark.reconcile(options),
    }
  }

  /** Disconnects; what was captured is in the store then. */
  async close(): Promise<void> {
    try {
      await this.#tidemark?.close()
    } finally {
      await this.#database.close()
    }
  }
}

async function connected(adapter: Adapter, connectionString: string): Promise<AdapterDatabase> {
  try {
    const database: unknown = await adapter.open(connectionString)
    if (isDatabase(database)) return database
  } catch (error) {
    throw error instanceof TidemarkError ? error : cannotOpen(error)
  }
  throw new TidemarkError('TARGET_INVALID', 'The adapter opened no database. Nothing was done.', {
    hint: 'This is a defect of the adapter: open() gives what `AdapterDatabase` describes.',
  })
}

function isDatabase(value: unknown): value is AdapterDatabase {
  const { source, openTarget, close }: { readonly [K in keyof AdapterDatabase]?: unknown } = Object(value)
  return typeof source === 'object' && source !== null && [openTarget, close].every((one) => typeof one === 'function')
}

async function isEmpty(source: Source): Promise<boolean> {
  for await (const items of source.items()) if (items.length > 0) return false
  return true
}

function cannotOpen(error: unknown): TidemarkError {
  return new TidemarkError('TARGET_INVALID', `The database cannot be opened: ${messageOf(error)}`, {
    hint: 'Check the connection string and its credentials; nothing was written.',
    cause: error,
  })
}
