import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { StoreSpec } from '../../src/index.ts'
import { Tidemark } from '../../src/index.ts'
import { type ServerState, startRgw } from '../support/rgw.ts'
import { s3ForTests } from '../support/s3.ts'
import { makeBucket } from '../support/s3-bucket.ts'

const directory = mkdtempSync(join(tmpdir(), 's3-outage-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What the server does, and for how long, milliseconds. The longest silence is beyond what a request waits for. */
const OUTAGES: readonly (readonly [ServerState, number])[] = [
  ['frozen', 2000],
  ['down', 3000],
  ['frozen', 34_000],
]

interface Writer {
  /** Lines that it has said so far. */
  readonly lines: string[]
  /** Lets it end; resolves with its exit code and what it wrote to stderr. */
  finish(): Promise<{ code: number | null; errors: string }>
}

function startWriter(args: readonly string[], env: NodeJS.ProcessEnv): Writer {
  const script = join(import.meta.dirname, '../support/outage-writer.ts')
  const child = spawn(process.execPath, [script, ...args], { env: { ...process.env, ...env } })
  const lines: string[] = []
  let rest = ''
  let errors = ''
  child.stdout.on('data', (part) => {
    const whole = `${rest}${part}`.split('\n')
    rest = whole.pop() ?? ''
    lines.push(...whole)
  })
  child.stderr.on('data', (part) => {
    errors += part
  })
  const ended = new Promise<number | null>((settle) => child.on('close', settle))
  return {
    lines,
    finish: async () => {
      child.stdin.write('end\n')
      return { code: await ended, errors }
    },
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Until the writer has said so many lines, however long a loaded machine takes; where it has stopped, the time of the test ends. */
async function until(writer: Writer, count: number): Promise<void> {
  while (writer.lines.length < count) await pause(50)
}

/** Everything that the writer was told is done is in the history: once, and in its order. */
async function check(store: StoreSpec, lines: readonly string[]): Promise<void> {
  const reader = await Tidemark.open({ store })
  const told = Map.groupBy(lines, (line) => line.split(' ')[1] ?? '')
  for (const [id, own] of told) {
    const history: string[] = []
    for await (const { after } of reader.history('notes', id)) {
      history.push(after === null ? `D ${id}` : `W ${id} ${JSON.parse(Buffer.from(after.json).toString()).n}`)
    }
    expect(history, id).toEqual(own)
  }
  const alive = [...told.values()].filter((own) => own.at(-1)?.startsWith('W')).length
  expect(await reader.at('latest').count('notes')).toBe(alive)
  expect((await reader.verify()).damage).toEqual([])
  const { gaps, streams } = await reader.status()
  expect([gaps, streams.map(({ state }) => state)]).toEqual([[], ['closed']])
  await reader.close()
}

// A server of its own: the other tests go on with theirs. It is there where theirs is.
test.skipIf(s3ForTests() === null)(
  'writes go on while the S3 server is stopped and frozen, and all of them are in the store then, once, in order',
  async () => {
    const { server, become, stop } = await startRgw()
    const { accessKeyId, secretAccessKey, endpoint } = server
    const bucket = await makeBucket(server, 'outage')
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    const start = (ack: 'journal' | 'store'): Writer =>
      startWriter([`s3://${bucket}/${ack}`, endpoint, join(directory, ack), ack], env)
    const [journalled, stored] = [start('journal'), start('store')]
    for (const writer of [journalled, stored]) await until(writer, 20)
    for (const [state, ms] of OUTAGES) {
      await become(state)
      const during = journalled.lines.length
      await pause(ms)
      // Nobody waits for the store: as long as it is away, each of four lanes goes on.
      await until(journalled, during + 100)
      // Where the store is what acknowledges, writes wait for it, and go on then.
      const waiting = stored.lines.length
      await become('up')
      await until(stored, waiting + 20)
    }
    const credentials = { accessKeyId, secretAccessKey }
    for (const [ack, writer] of Object.entries({ journal: journalled, store: stored })) {
      const { code, errors } = await writer.finish()
      expect(code, errors).toBe(0)
      expect(writer.lines.pop(), errors).toBe('done')
      await check({ url: `s3://${bucket}/${ack}`, endpoint, region: 'us-east-1', credentials }, writer.lines)
    }
    await stop()
  },
  600_000,
)
