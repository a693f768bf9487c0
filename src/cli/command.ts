import { TidemarkError } from '../base/errors.ts'
import { Tidemark } from '../engine/tidemark.ts'
import type { StoreSpec } from '../store/open.ts'
import type { DatabaseAdapter } from './adapter.ts'
import { parseMemory } from './arguments.ts'
import type { StoreOpener } from './stores.ts'
import type { Terminal } from './terminal.ts'

/** What every command is given. */
export interface Surroundings {
  readonly terminal: Terminal
  readonly adapter: DatabaseAdapter
  readonly stores: StoreOpener
}

/** The options that commands share, as commander reads them. */
export interface CommonOptions {
  readonly store?: string
  /** The module that opens stores of its kind. */
  readonly storeAdapter?: string
  readonly json?: boolean
  /** MiB. */
  readonly memory?: string
}

/** The store that is meant: `--store`, else `TIDEMARK_STORE`. Errors: `OPTION_INVALID` without either, `ADAPTER_MISSING`. */
export async function storeOf(
  { store, storeAdapter }: CommonOptions,
  { terminal, stores }: Surroundings,
): Promise<string | StoreSpec> {
  const found = store ?? terminal.environment.TIDEMARK_STORE
  if (found !== undefined && found !== '') return stores(found, storeAdapter)
  throw new TidemarkError('OPTION_INVALID', 'No store was named. Nothing was read.', {
    hint: 'Give --store file:./backups (or s3://bucket/prefix), or set TIDEMARK_STORE.',
  })
}

/** `--adapter`, where it was given. */
export function adapterOf({ adapter }: { readonly adapter?: string }): { readonly adapter?: string } {
  return adapter === undefined ? {} : { adapter }
}

/** `--store` and what opens it, as they must be repeated in the next command; empty where the environment names the store. */
export function storeArgument({ store, storeAdapter }: CommonOptions): string {
  const opener = storeAdapter === undefined ? '' : ` --store-adapter ${shellQuoted(storeAdapter)}`
  return (store === undefined ? '' : ` --store ${shellQuoted(store)}`) + opener
}

/** A word as a POSIX shell reads it back. */
export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** Opens the store for reading, runs `work`, and lets go of it. */
export async function withStore<T>(
  options: CommonOptions,
  around: Surroundings,
  work: (tidemark: Tidemark) => Promise<T>,
): Promise<T> {
  const memory = parseMemory(options.memory)
  const store = await storeOf(options, around)
  const tidemark = await Tidemark.open(
    { store, ...(memory === undefined ? {} : { memory }) },
    undefined,
    around.terminal.environment,
  )
  try {
    return await work(tidemark)
  } finally {
    await tidemark.close()
  }
}
