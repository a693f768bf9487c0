import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, expect, it } from 'vitest'
import type { ItemState } from '../../src/index.ts'
import { Tidemark } from '../../src/index.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { show } from '../support/arbitrary.ts'

const directory = mkdtempSync(join(tmpdir(), 'two-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Writer {
  child: ChildProcess
  ready: Promise<void>
  done: Promise<{ code: number | null; output: string }>
}

/** A process whose clock is an hour behind. */
const AN_HOUR_BEHIND = ['--import', 'data:text/javascript,const now = Date.now; Date.now = () => now() - 3_600_000']

function startWriter(home: string, seed: number, ms: number, node: readonly string[] = []): Writer {
  const script = join(import.meta.dirname, '../support/shared-writer.ts')
  const args = [script, `file://${home}/db`, `file:${home}/store`, `${home}/journal`, String(seed), String(ms)]
  const child = spawn(process.execPath, [...node, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
  child.stdout.on('data', (part) => {
    output += part
    if (output.includes('ready')) resolve()
  })
  child.stderr.on('data', (part) => {
    output += part
  })
  const done = new Promise<{ code: number | null; output: string }>((settle) => {
    child.on('close', (code) => {
      reject(new Error(output))
      settle({ code, output })
    })
  })
  return { child, ready, done }
}

async function collect(states: AsyncIterable<ItemState>): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const { kind, resource, id, image } of states) {
    if (kind === 'record') found.set(JSON.stringify([resource, id]), show(image))
  }
  return found
}

async function* flat(batches: AsyncIterable<readonly ItemState[]>): AsyncGenerator<ItemState> {
  for await (const batch of batches) yield* batch
}

/** The history ends where the database does; every stream is closed and nothing is damaged. */
async function expectHistoryOfDatabase(home: string): Promise<void> {
  const db = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
  await db.connect()
  const tidemark = await Tidemark.open({ store: `file:${home}/store` })
  const { streams } = await tidemark.status()
  expect(streams.map(({ state }) => state)).toEqual(streams.map(() => 'closed'))
  const live = await collect(flat(createS3dbTarget(db).scan({})))
  expect(await collect(tidemark.at('latest').states())).toEqual(live)
  expect(live.size).toBeGreaterThan(5)
  expect((await tidemark.verify()).damage).toEqual([])
  await tidemark.close()
  await db.disconnect()
}

const runs = (process.env.TIDEMARK_SEEDS ?? '1,2').split(',').map(Number)

it.each([...runs.map((run) => ({ run, clock: 'the same' })), { run: 99, clock: 'another' }])(
  'two processes write the same records by $clock clock, and the history ends where the database does, run $run',
  async ({ run, clock }) => {
    const home = join(directory, String(run))
    const first = startWriter(home, run * 10 + 1, 1500)
    await first.ready
    const second = startWriter(home, run * 10 + 2, 1500, clock === 'another' ? AN_HOUR_BEHIND : [])
    await second.ready
    for (const { child } of [first, second]) child.stdin?.write('go\n')
    for (const { done } of [first, second]) {
      const { code, output } = await done
      expect(code, output).toBe(0)
      expect(Number(/written (\d+)/.exec(output)?.[1])).toBeGreaterThan(0)
    }
    await expectHistoryOfDatabase(home)
  },
)

it('a process that is killed again and again beside another one leaves nothing wrong behind', async () => {
  const home = join(directory, 'killed')
  const steady = startWriter(home, 1, 4000)
  await steady.ready
  steady.child.stdin?.write('go\n')
  for (let life = 1; life <= 4; life++) {
    const killed = startWriter(home, 1 + life, 60_000)
    await killed.ready
    killed.child.stdin?.write('go\n')
    await new Promise((resolve) => setTimeout(resolve, 150 * life))
    killed.child.kill('SIGKILL')
    await killed.done
  }
  expect((await steady.done).code).toBe(0)
  // Whoever starts next settles what the killed ones have left.
  const last = startWriter(home, 9, 100)
  await last.ready
  last.child.stdin?.write('go\n')
  const { code, output } = await last.done
  expect(code, output).toBe(0)
  await expectHistoryOfDatabase(home)
})
