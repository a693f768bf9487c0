import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
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

// A server of its own: the other tests go on with theirs. It is there where theirs is.
test.skipIf(s3ForTests() === null)(
  'writes go on while the S3 server is stopped and frozen, and all of them are in the store then, once, in order',
  async () => {
    const { server, become, stop } = await startRgw()
    const { accessKeyId, secretAccessKey, endpoint } = server
    const url = `s3://${await makeBucket(server, 'outage')}/store`
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    const writer = startWriter([url, endpoint, join(directory, 'journal'), '1'], env)
    while (writer.lines.length < 20) await pause(50)
    for (const [state, ms] of OUTAGES) {
      await become(state)
      const before = writer.lines.length
      await pause(ms)
      // Nobody waits for the store: two of four lanes at 20 ms are the least of it.
      expect(writer.lines.length - before, `${state} for ${ms} ms`).toBeGreaterThan(ms / 40)
      await become('up')
      await pause(1000)
    }
    const { code, errors } = await writer.finish()
    expect(code, errors).toBe(0)
    expect(writer.lines.pop(), errors).toBe('done')

    const credentials = { accessKeyId, secretAccessKey }
    const reader = await Tidemark.open({ store: { url, endpoint, region: 'us-east-1', credentials } })
    const told = Map.groupBy(writer.lines, (line) => line.split(' ')[1] ?? '')
    let events = 0
    for (const [id, lines] of told) {
      const history: string[] = []
      for await (const { after } of reader.history('notes', id)) {
        history.push(after === null ? `D ${id}` : `W ${id} ${JSON.parse(Buffer.from(after.json).toString()).n}`)
      }
      expect(history, id).toEqual(lines)
      events += history.length
    }
    expect(events).toBe(writer.lines.length)
    const alive = [...told.values()].filter((lines) => lines.at(-1)?.startsWith('W')).length
    expect(await reader.at('latest').count('notes')).toBe(alive)
    expect((await reader.verify()).damage).toEqual([])
    expect((await reader.status()).gaps).toEqual([])
    await reader.close()
    await stop()
  },
)
