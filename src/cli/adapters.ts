import { TidemarkError } from '../base/errors.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { DatabaseAdapter, OpenDatabase, OpenOptions } from './adapter.ts'
import { OpenedByAdapter } from './adapter-database.ts'
import { adapterIn, packageOf } from './adapter-module.ts'
import type { Terminal } from './terminal.ts'

/** The adapter that comes with the command line. */
export interface BuiltInAdapter extends DatabaseAdapter {
  readonly schemes: readonly string[]
  /** What has to be installed for it. */
  readonly needs: string
}

/**
 * Every database whose adapter is installed or named, found by the scheme of the connection string: first in the module
 * that was named, then built in, then in `tidemark-adapter-<scheme>`.
 */
export function adaptersOf(
  builtIn: BuiltInAdapter,
  directory: string,
  { TIDEMARK_ADAPTER }: Terminal['environment'],
): DatabaseAdapter {
  const general = TIDEMARK_ADAPTER === '' ? undefined : TIDEMARK_ADAPTER
  return {
    handles: (target) => builtIn.handles(target),
    open: async (connectionString, options = {}) => {
      const scheme = schemeOf(connectionString)
      const { adapter: named = general } = options
      const isBuiltIn = builtIn.schemes.includes(scheme)
      if (named !== undefined) {
        const adapter = await adapterIn(named, directory)
        if (adapter === null) throw notInstalled(named)
        if (adapter.schemes.includes(scheme)) return opened(adapter, connectionString, options)
        if (options.adapter !== undefined || !isBuiltIn) throw otherScheme(scheme, named, adapter)
      }
      if (isBuiltIn) return builtIn.open(connectionString, options)
      const name = packageOf(scheme)
      const adapter = await adapterIn(name, directory)
      if (adapter === null) throw unknownScheme(scheme, name, builtIn)
      if (!adapter.schemes.includes(scheme)) throw otherScheme(scheme, name, adapter)
      return opened(adapter, connectionString, options)
    },
  }
}

function opened(adapter: Adapter, connectionString: string, { mapSchema }: OpenOptions): Promise<OpenDatabase> {
  return OpenedByAdapter.open(adapter, connectionString, mapSchema ?? false)
}

function schemeOf(connectionString: string): string {
  return connectionString.slice(0, connectionString.indexOf(':')).toLowerCase()
}

function unknownScheme(scheme: string, name: string, { schemes, needs }: BuiltInAdapter): TidemarkError {
  const known = schemes.map((one) => `${one}://`).join(', ')
  return new TidemarkError('ADAPTER_MISSING', `No adapter for ${scheme}:// is installed here. Nothing was done.`, {
    hint: `Install one (npm install ${name}, where there is such a package), or name the module that has it: --adapter ./adapter.js. Known here: ${known} (${needs}).`,
    details: { scheme },
  })
}

function notInstalled(name: string): TidemarkError {
  return new TidemarkError('ADAPTER_MISSING', `The adapter ${name} is not installed here. Nothing was done.`, {
    hint: 'Install it beside the application, or give the path of a file with ./ in front.',
    details: { adapter: name },
  })
}

function otherScheme(scheme: string, name: string, { schemes }: Adapter): TidemarkError {
  const known = schemes.map((one) => `${one}://`).join(', ')
  return new TidemarkError(
    'OPTION_INVALID',
    `The adapter ${name} opens ${known}, and not ${scheme}://. Nothing was done.`,
    {
      hint: 'Give the connection string of a database that it opens, or another adapter.',
      details: { scheme, adapter: name },
    },
  )
}
