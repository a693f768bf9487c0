import { PassThrough } from 'node:stream'
import { runProgram } from '../../src/cli/program.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import type { Run } from './cli.ts'

/** Runs a command line in this process, over a store that may be in its memory. */
export async function inProcess(store: string | StoreSpec, ...args: string[]): Promise<Run> {
  const [out, err] = [new PassThrough(), new PassThrough()]
  const terminal = { out, err, input: new PassThrough(), environment: { TIDEMARK_STORE: 'own://given' } }
  const refused = (): Promise<never> => Promise.reject(new Error('none'))
  const adapter = { handles: () => false, open: refused }
  const demo = { places: refused, open: refused }
  const code = await runProgram(args, { terminal, adapter, stores: async () => store, demo, version: '0' })
  const [shown, told] = [out, err].map((stream) => String(stream.read() ?? ''))
  return { code, out: shown ?? '', err: told ?? '' }
}
