import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type StoreSpec, Tidemark } from '../../src/index.ts'
import type { AwayWriterParts } from '../support/away-writer.ts'
import { type RunningS3Server, startRgw } from '../support/rgw.ts'
import { s3ForTests } from '../support/s3.ts'
import { makeBucket } from '../support/s3-bucket.ts'

const home = mkdtempSync(join(tmpdir(), 'start-away-'))
// A server of its own: the other tests go on with theirs. It is there where theirs is.
const isThere = s3ForTests() !== null
let running: RunningS3Server | null = null
beforeAll(async () => {
  if (isThere) running = await startRgw()
}, 120_000)
afterAll(async () => {
  await running?.stop()
  rmSync(home, { recursive: true, force: true })
})

const PASSPHRASE = 'the tide leaves a mark on every pile'
const WRITES = 25

/** An application with a database, a store and a journal of its own, which is started again and again. */
class Application {
  readonly #parts: Omit<AwayWriterParts, 'from'>
  readonly #env: NodeJS.ProcessEnv
  /** What was acknowledged, in order: id and values. */
  readonly told: (readonly [string, string])[] = []
  #lives = 0
  #child = spawn('true')
  #lines: string[] = []
  #ended: Promise<number | null> = Promise.resolve(0)
  #errors = ''

  constructor(parts: Omit<AwayWriterParts, 'from'>, env: NodeJS.ProcessEnv) {
    this.#parts = parts
    this.#env = env
  }

  /** Starts it; resolves when it has written some, or has ended: with its last line. */
  async start(): Promise<string> {
    const script = join(import.meta.dirname, '../support/away-writer.ts')
    const had = this.told.length
    // No number is written twice, also where a write was done and not acknowledged.
    const from = 1000 * ++this.#lives
    this.#lines = []
    this.#errors = ''
    this.#child = spawn(process.execPath, [script, JSON.stringify({ ...this.#parts, from })], {
      env: { ...process.env, ...this.#env },
    })
    let rest = ''
    this.#child.stdout?.on('data', (part) => {
      const whole = `${rest}${part}`.split('\n')
      rest = whole.pop() ?? ''
      for (const line of whole) this.#heard(line)
    })
    this.#child.stderr?.on('data', (part) => {
      this.#errors += part
    })
    let isOver = false
    this.#ended = new Promise((settle) => {
      this.#child.on('close', (code) => {
        isOver = true
        settle(code)
      })
    })
    while (!isOver && this.told.length < had + WRITES) await new Promise((resolve) => setTimeout(resolve, 20))
    return this.#lines.at(-1) ?? this.#errors
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** Lets it flush and disconnect; resolves with its exit code. */
  async finish(): Promise<number | null> {
    this.#child.stdin?.write('end\n')
    const code = await this.#ended
    if (code !== 0) throw new Error(this.#errors)
    expect(this.#lines.at(-1)).toBe('done')
    return code
  }

  #heard(line: string): void {
    this.#lines.push(line)
    const [, id, values] = /^W (\S+) (.*)$/.exec(line) ?? []
    if (id !== undefined && values !== undefined) this.told.push([id, values])
  }
}

/** Every acknowledged write is in the history of its record, once and in order, and is what the record was. */
async function check(reader: Tidemark, told: Application['told']): Promise<void> {
  const byId = Map.groupBy(told, ([id]) => id)
  for (const [id, own] of byId) {
    const history: string[] = []
    for await (const { after, context } of reader.history('notes', id)) {
      const { n, text } = JSON.parse(Buffer.from(after?.json ?? []).toString())
      // Others may have been there while the store was away, for all that is known: a record is read once more then.
      if (context.metadata === null) history.push(JSON.stringify({ n, text }))
    }
    // A write under way when the process is killed may have happened.
    const acknowledged = own.map(([, values]) => values)
    expect(
      history.filter((values) => acknowledged.includes(values)),
      id,
    ).toEqual(acknowledged)
    const last = await reader.at('latest').get('notes', id)
    expect(last?.n, id).toBeGreaterThanOrEqual(JSON.parse(own.at(-1)?.[1] ?? '{}').n)
  }
  expect((await reader.verify()).damage).toEqual([])
  expect((await reader.status()).gaps).toEqual([])
}

function applicationOn(
  server: RunningS3Server,
  bucket: string,
  name: string,
  isEncrypted: boolean,
): [Application, StoreSpec] {
  const { endpoint, accessKeyId, secretAccessKey } = server.server
  const credentials = { accessKeyId, secretAccessKey }
  const store = { url: `s3://${bucket}/${name}`, endpoint, region: 'us-east-1', credentials }
  const encryption = isEncrypted ? { encryption: { passphrase: PASSPHRASE } } : {}
  const spec = { ...store, ...encryption }
  const parts = {
    database: `file://${join(home, name, 'db')}`,
    store: spec,
    journal: join(home, name, 'journal'),
    encryptJournal: isEncrypted,
  }
  return [new Application(parts, { TIDEMARK_LOG: 'silent' }), spec]
}

test.skipIf(!isThere)(
  'a process starts while the S3 server is down or frozen, also after it was killed, and everything comes into the store',
  async () => {
    if (running === null) throw new Error('no server')
    const { server, become } = running
    const bucket = await makeBucket(server, 'start-away')
    const [plain, plainStore] = applicationOn(running, bucket, 'plain', false)
    const [sealed, sealedStore] = applicationOn(running, bucket, 'sealed', true)
    const both = [plain, sealed]
    await Promise.all(both.map((application) => application.start()))
    // One stream is closed in the timeline, one is open there for ever.
    await plain.finish()
    await sealed.kill()
    for (const state of ['frozen', 'down'] as const) {
      await become('up')
      await become(state)
      for (const said of await Promise.all(both.map((one) => one.start()))) expect(said, state).toMatch(/^W /)
      await Promise.all(both.map((application) => application.kill()))
    }
    for (const said of await Promise.all(both.map((one) => one.start()))) expect(said).toMatch(/^W /)
    await become('up')
    expect(await Promise.all(both.map((application) => application.finish()))).toEqual([0, 0])
    for (const [application, store] of [
      [plain, plainStore],
      [sealed, sealedStore],
    ] as const) {
      const reader = await Tidemark.open({ store })
      await check(reader, application.told)
      const { streams } = await reader.status()
      expect(streams.map(({ state, late }) => [state, late])).toEqual(streams.map(() => ['closed', undefined]))
      await reader.close()
    }
  },
)

test.skipIf(!isThere)(
  'what a process that never reached the store left behind is brought in by whoever reads on its machine',
  async () => {
    if (running === null) throw new Error('no server')
    const { server, become } = running
    const bucket = await makeBucket(server, 'left-behind')
    const [application, store] = applicationOn(running, bucket, 'left', false)
    await application.start()
    await application.finish()
    await become('down')
    expect(await application.start()).toMatch(/^W /)
    await application.kill()
    await become('up')
    const reader = await Tidemark.open({ store })
    const { verdict, streams } = await reader.status()
    // Looking brings nothing in, and says that something is there.
    expect(streams.map(({ condition }) => condition.state)).toEqual(['closed', 'died'])
    expect(verdict.verdict).toBe('yes')
    await check(reader, application.told)
    await reader.close()
  },
)

test.skipIf(!isThere)(
  'a first start without the store fails by name, says what to do, and leaves nothing behind',
  async () => {
    if (running === null) throw new Error('no server')
    const { server, become } = running
    const bucket = await makeBucket(server, 'first-start')
    const [application] = applicationOn(running, bucket, 'first', false)
    await become('down')
    const said = await application.start()
    await become('up')
    expect(said).toMatch(
      /^failed STORE_UNAVAILABLE .*The store at s3:\/\/.* cannot be reached, and no process with the journal directory .* has reached it before\. Nothing was captured\./,
    )
    expect(said).toContain('Start it once while the store can be reached')
    expect(existsSync(join(home, 'first', 'journal'))).toBe(false)
  },
)
