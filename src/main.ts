import { createRequire } from 'node:module'
import { collectBuffers } from './base/collect-buffers.ts'
import { builtInParts } from './cli/built-in.ts'
import { EXIT_CODES } from './cli/exit-codes.ts'
import { runProgram } from './cli/program.ts'
import { holdYoungSpace } from './cli/young-space.ts'

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
  ...builtInParts(process.cwd(), environment),
  version: manifest.version,
})
// s3db.js ends the process in its own way when it is left to (with code 0), so the end is said here, after the output.
for (const stream of [out, err]) await new Promise((resolve) => stream.write('', resolve))
process.exit(exitCode)
