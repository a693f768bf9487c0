import { messageOf, TidemarkError } from '../base/errors.ts'
import { type StoreAdapter, storeSchemeOf } from '../engine/store-adapter.ts'
import type { StoreSpec } from '../store/open.ts'
import { exportedBy, isOfSchemes, packageOf } from './adapter-module.ts'
import type { Terminal } from './terminal.ts'

/** What a store is opened with, by its URL. Errors: `ADAPTER_MISSING`, `OPTION_INVALID`. */
export type StoreOpener = (url: string, adapter: string | undefined) => Promise<string | StoreSpec>

/**
 * Opens what is not built in by the `storeAdapter` of a module: of the one that was named, else of `tidemark-adapter-<scheme>`. The
 * place of record keys, which the environment names, is opened in the same way.
 */
export function storesOf(directory: string, environment: Terminal['environment']): StoreOpener {
  const { TIDEMARK_STORE_ADAPTER: general, TIDEMARK_RECORD_KEYS: keys = '' } = environment
  return async (url, adapter) => {
    const named = adapter ?? (general === '' ? undefined : general)
    const open = (one: string): Promise<string | StoreSpec> => opened(one, named, directory)
    const [store, recordKeys] = [await open(url), await open(keys)]
    // What the environment names may be for other commands.
    if (adapter !== undefined && typeof store === 'string' && typeof recordKeys === 'string')
      throw nothingToOpen(adapter)
    if (typeof recordKeys === 'string') return store
    return { ...(typeof store === 'string' ? { url: store } : store), recordKeys }
  }
}

async function opened(url: string, named: string | undefined, directory: string): Promise<string | StoreSpec> {
  const scheme = storeSchemeOf(url)
  if (scheme === null) return url
  const module = named ?? packageOf(scheme)
  const adapter = await exportedBy(module, directory, { name: 'storeAdapter', is: isStoreAdapter })
  if (adapter === null) throw notInstalled(scheme, module)
  if (!adapter.schemes.includes(scheme)) throw otherScheme(scheme, module, adapter)
  try {
    return { url, objects: await adapter.open(url) }
  } catch (error) {
    throw error instanceof TidemarkError ? error : cannotOpen(scheme, error)
  }
}

function isStoreAdapter(value: unknown): value is StoreAdapter {
  return isOfSchemes(value)
}

function notInstalled(scheme: string, module: string): TidemarkError {
  return new TidemarkError(
    'ADAPTER_MISSING',
    `${module}, which opens ${scheme}:, is not installed here. Nothing was done.`,
    {
      hint: `Built in are file:./dir, s3://bucket/prefix and paths. For ${scheme}: install ${module} where there is such a package, or name the module that has it: --store-adapter ./store.js.`,
      details: { scheme, adapter: module },
    },
  )
}

function nothingToOpen(module: string): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    `${module} has no store to open: the one that is named is built in. Nothing was done.`,
    {
      hint: 'Leave --store-adapter out, or give the URL of a store that it opens.',
    },
  )
}

/** The URL may hold a secret in the wrong place. */
function cannotOpen(scheme: string, error: unknown): TidemarkError {
  return new TidemarkError('STORE_UNAVAILABLE', `The ${scheme}: store cannot be opened: ${messageOf(error)}`, {
    hint: 'Check its URL, and the credentials where its adapter wants them.',
    cause: error,
  })
}

function otherScheme(scheme: string, module: string, { schemes }: StoreAdapter): TidemarkError {
  const known = schemes.map((one) => `${one}:`).join(', ')
  return new TidemarkError(
    'OPTION_INVALID',
    `${module} opens stores at ${known}, and not at ${scheme}:. Nothing was done.`,
    {
      hint: 'Give the URL of a store that it opens, or another --store-adapter.',
      details: { scheme, adapter: module },
    },
  )
}
