import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { BIN, tidemark } from '../support/cli.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'interrupted-'))
const KEY = '0f'.repeat(32)
const SECRET = 'Jane Roe'

/** An encrypted store with more segments than a small memory merges at once, and two resources. */
beforeAll(async () => {
  const database = new ModelDatabase()
  const store = { url: `file:${home}/store`, encryption: { key: KEY } }
  const source = await Tidemark.capture({ store, journal: `${home}/journal`, source: database })
  for (let round = 0; round < 6; round++) {
    const write = (i: number): Promise<void> =>
      database.write(
        { kind: 'record', resource: i % 2 === 0 ? 'aaa' : 'patients', id: `p${round}-${i}` },
        recordImage({ name: `${SECRET} ${i}`, text: 'x'.repeat(500 + i) }),
      )
    await Promise.all(Array.from({ length: 400 }, (_, i) => write(i)))
    await source.flush()
  }
  await source.close()
}, 120_000)
afterAll(() => rmSync(home, { recursive: true, force: true }))

function files(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
}

/** Starts a command, and ends it by the signal as soon as it has put something aside; again where it was done before. */
async function interrupt(
  directory: string,
  signal: NodeJS.Signals,
  ...args: readonly string[]
): Promise<number | null> {
  for (let attempt = 1; ; attempt++) {
    const { code, isSent } = await interruptOnce(directory, signal, ...args)
    if (isSent && code !== 0) return code
    expect(attempt, 'it had put something aside').toBeLessThan(10)
  }
}

async function interruptOnce(
  directory: string,
  signal: NodeJS.Signals,
  ...args: readonly string[]
): Promise<{ code: number | null; isSent: boolean }> {
  const env = {
    ...process.env,
    TIDEMARK_KEY: KEY,
    TIDEMARK_STORE: `file:${home}/store`,
    TMPDIR: directory,
  }
  const child: ChildProcess = spawn(process.execPath, [BIN, ...args], { env, stdio: 'ignore' })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const clear: string[] = []
  let isSent = false
  while (child.exitCode === null && child.signalCode === null) {
    const seen = readable(directory)
    clear.push(...seen.clear)
    if (seen.put && !isSent) isSent = child.kill(signal)
    await sleep(1)
  }
  expect(clear).toEqual([])
  return { code: await ended, isSent }
}

/** Whether something was put aside, and which files of it can be read by anybody. */
function readable(directory: string): { put: boolean; clear: string[] } {
  let put = false
  const clear: string[] = []
  try {
    for (const file of files(directory)) {
      if (file.endsWith('owner.json')) continue
      put = true
      const bytes = readFileSync(file)
      // Gzip members and frames of events begin otherwise than encrypted files, and hold what was written.
      if (bytes.includes(SECRET) || (bytes[0] === 0x1f && bytes[1] === 0x8b)) clear.push(file)
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error // it has just gone
  }
  return { put, clear }
}

const COMMANDS = [
  ['drill', '--at', 'latest', '--memory', '8'],
  ['restore', '--to', 'latest', '--target', join(home, 'out'), '--memory', '1', '--yes'],
] as const

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s leaves nothing aside, and nothing was ever in the clear',
  async (signal) => {
    for (const [index, command] of COMMANDS.entries()) {
      const directory = join(home, `tmp-${signal}-${index}`)
      mkdirSync(directory)
      expect(await interrupt(directory, signal, ...command)).toBe(128 + constants.signals[signal])
      expect(files(directory)).toEqual([])
    }
  },
)

test('what a killed process left is encrypted, and swept by the next one that puts something aside', async () => {
  const directory = join(home, 'tmp-kill')
  mkdirSync(directory)
  await interrupt(directory, 'SIGKILL', ...COMMANDS[0])
  expect(readable(directory)).toMatchObject({ put: true, clear: [] })
  const { code } = await tidemark(home, COMMANDS[0], {
    TIDEMARK_KEY: KEY,
    TIDEMARK_STORE: `file:${home}/store`,
    TMPDIR: directory,
  })
  expect(code).toBe(0)
  expect(readdirSync(directory)).toEqual([])
})
