import { type ChildProcess, type ChildProcessByStdio, execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Answer } from './cli-application.ts'

/** The checkout. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))
/** The command: as it is packed, where the set-up of the tests has bundled it; else the sources. */
export const BIN: string = process.env.TIDEMARK_TEST_BIN ?? join(ROOT, 'src/bin.ts')

/** How one run of the command line ended. */
export interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs the command line as a process of its own, in `cwd`. */
export function tidemark(cwd: string, args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  return script(cwd, BIN, args, env)
}

/** Runs a script as a process of its own, in `cwd`. */
export function script(
  cwd: string,
  path: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Run> {
  const options = { cwd, env: { ...process.env, TIDEMARK_STORE: '', ...env }, maxBuffer: 64 * 1024 * 1024 }
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [path, ...args], options, (_error, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

/** The lines of a `--json` output. */
export function jsonLines(out: string): Record<string, unknown>[] {
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

/** The SHA-256 of every file under a directory, by path. */
export async function fingerprint(directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    found.set(
      path,
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    )
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The application of `cli-application.ts`, in a process of its own; it writes what it is told. */
export interface Application {
  readonly process: ChildProcess
  /** Sends one command; the answer is what the application reports after it. */
  send(command: object): Promise<Answer>
}

/** Takes the started process up; resolves when it is ready. */
export async function talkTo(child: ChildProcessByStdio<Writable, Readable, null>): Promise<Application> {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async (): Promise<Answer> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error('the application ended')
    return JSON.parse(value)
  }
  await answer()
  return {
    process: child,
    send: (command) => {
      child.stdin.write(`${JSON.stringify(command)}\n`)
      return answer()
    },
  }
}
