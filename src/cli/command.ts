import { TidemarkError } from '../base/errors.ts'
import { Tidemark } from '../engine/tidemark.ts'
import type { DatabaseAdapter } from './adapter.ts'
import { parseMemory } from './arguments.ts'
import type { Terminal } from './terminal.ts'

/** What every command is given. */
export interface Surroundings {
  readonly terminal: Terminal
  readonly adapter: DatabaseAdapter
}

/** The options that commands share, as commander reads them. */
export interface CommonOptions {
  readonly store?: string
  readonly json?: boolean
  /** MiB. */
  readonly memory?: string
}

/** The store that is meant: `--store`, else `TIDEMARK_STORE`. Errors: `OPTION_INVALID` without either. */
export function storeOf({ store }: CommonOptions, { environment }: Terminal): string {
  const found = store ?? environment.TIDEMARK_STORE
  if (found !== undefined && found !== '') return found
  throw new TidemarkError('OPTION_INVALID', 'No store was named. Nothing was read.', {
    hint: 'Give --store file:./backups (or s3://bucket/prefix), or set TIDEMARK_STORE.',
  })
}

/** `--adapter`, where it was given. */
export function adapterOf({ adapter }: { readonly adapter?: string }): { readonly adapter?: string } {
  return adapter === undefined ? {} : { adapter }
}

/** `--store` as it must be repeated in the next command; empty where the environment names the store. */
export function storeArgument({ store }: CommonOptions): string {
  return store === undefined ? '' : ` --store ${shellQuoted(store)}`
}

/** A word as a POSIX shell reads it back. */
export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** Opens the store for reading, runs `work`, and lets go of it. */
export async function withStore<T>(
  options: CommonOptions,
  { terminal }: Surroundings,
  work: (tidemark: Tidemark) => Promise<T>,
): Promise<T> {
  const memory = parseMemory(options.memory)
  const store = storeOf(options, terminal)
  const tidemark = await Tidemark.open(
    { store, ...(memory === undefined ? {} : { memory }) },
    undefined,
    terminal.environment,
  )
  try {
    return await work(tidemark)
  } finally {
    await tidemark.close()
  }
}
