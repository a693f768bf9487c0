import { createRequire } from 'node:module'
import { PassThrough, Writable } from 'node:stream'
import { builtInParts } from '../../src/cli/built-in.ts'
import { type ProgramParts, runProgram } from '../../src/cli/program.ts'
import type { Output } from '../../src/cli/terminal.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import type { Run } from './cli.ts'

const { version }: { version: string } = createRequire(import.meta.url)('../../package.json')

/** Runs a command line in this process, over a store that may be in its memory. */
export async function inProcess(store: string | StoreSpec, ...args: string[]): Promise<Run> {
  const refused = (): Promise<never> => Promise.reject(new Error('none'))
  const adapter = { handles: () => false, open: refused }
  const demo = { places: refused, open: refused }
  return ended(args, { TIDEMARK_STORE: 'own://given' }, { adapter, stores: async () => store, demo })
}

/** The end of what was asked for last. */
let last: Promise<unknown> = Promise.resolve()

/**
 * As `tidemark` of `cli.ts`, in this process: a twentieth of the processor time. One at a time, for the working directory and the
 * environment are those of the process, which has to be a test file's own. Not for what a process of its own is about: how it ends,
 * its signals, its log, its memory, and who holds which lock.
 */
export function tidemarkHere(cwd: string, args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const run = last.then(() => runHere(cwd, args, env))
  last = run.catch(() => undefined)
  return run
}

async function runHere(cwd: string, args: readonly string[], env: Record<string, string>): Promise<Run> {
  const [directory, before] = [process.cwd(), { ...process.env }]
  process.chdir(cwd)
  Object.assign(process.env, { TIDEMARK_STORE: '', ...env })
  try {
    return await ended(args, process.env, builtInParts(cwd, process.env))
  } finally {
    process.chdir(directory)
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
    Object.assign(process.env, before)
  }
}

/** Takes all that is written to it at once. */
class Kept extends Writable implements Output {
  text = ''

  override _write(part: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += part
    done()
  }
}

async function ended(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  parts: Pick<ProgramParts, 'adapter' | 'stores' | 'demo'>,
): Promise<Run> {
  const [out, err] = [new Kept(), new Kept()]
  const terminal = { out, err, input: new PassThrough(), environment }
  const code = await runProgram(args, { terminal, ...parts, version })
  return { code, out: out.text, err: err.text }
}
