import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runProgram } from '../../src/cli/program.ts'
import { Tidemark } from '../../src/index.ts'
import { isConnectionString } from '../../src/s3db/connection-string.ts'
import { ConnectedDatabase } from '../../src/s3db/database.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { BIN, type Run, tidemark } from '../support/cli.ts'
import { ModelDatabase } from '../support/model-database.ts'
import { openDatabase } from '../support/s3db.ts'

const CANARY = 'c4n4ry'
/** A key of 32 bytes as base64: to work one out of a passphrase takes half a second, for each command. */
const KEY = `${CANARY.repeat(7)}A=`
const PASSPHRASE = `${CANARY}-passphrase`
/** What a record holds: told where records are asked for, and nowhere else. */
const VALUE = 'v4lue-of-a-record'
const AWS = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: `${CANARY}-aws`,
  AWS_SESSION_TOKEN: `${CANARY}-session`,
}
const OPEN = { TIDEMARK_KEY: KEY, TIDEMARK_LOG: 'trace', ...AWS }
/** Who has the passphrase: the store opens with either. */
const WORDS = { TIDEMARK_PASSPHRASE: PASSPHRASE, TIDEMARK_LOG: 'trace', ...AWS }
const DOWN = '127.0.0.1:9'

let directory = ''
let store = ''

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'secrets-'))
  store = `file:${directory}/store`
  const { db } = await openDatabase(`file://${directory}/app`)
  const spec = { url: store, encryption: { key: KEY } }
  const plugin = new TidemarkPlugin({ store: spec, journal: `${directory}/journal` })
  await db.usePlugin(plugin)
  const users = await db.createResource({ name: 'users', attributes: { name: 'string', pin: 'secret' } })
  for (const id of ['u1', 'u2']) await users.insert({ id, name: VALUE, pin: `${CANARY}-pin` })
  await users.delete('u2')
  await plugin.flush()
  await plugin.snapshot()
  await db.disconnect()
  expect((await saidHere(['key', 'add'], { ...OPEN, TIDEMARK_NEW_PASSPHRASE: PASSPHRASE })).code).toBe(0)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Everything that a command said, and how it ended. */
async function said(args: readonly string[], env: Record<string, string> = OPEN): Promise<Run & { text: string }> {
  const run = await tidemark(directory, args, { TIDEMARK_STORE: store, ...env })
  return { ...run, text: `${run.out}\n${run.err}` }
}

/** The same without a process of its own. */
async function saidHere(args: readonly string[], env: Record<string, string>): Promise<Run & { text: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()]
  const terminal = { out, err, input: new PassThrough(), environment: { TIDEMARK_STORE: store, ...env } }
  const adapter = { handles: isConnectionString, open: (url: string) => ConnectedDatabase.open(url) }
  const demo = { places: () => Promise.reject(new Error('none')), open: () => Promise.reject(new Error('none')) }
  const code = await runProgram(args, { terminal, adapter, stores: async (url) => url, demo, version: '0' })
  const [shown, told] = [out, err].map((stream) => String(stream.read() ?? ''))
  return { code, out: shown ?? '', err: told ?? '', text: `${shown}\n${told}` }
}

function expectSilence({ code, text }: Run & { text: string }): void {
  expect(code, text).not.toBe(0)
  expect(text.length).toBeGreaterThan(20)
  expect(text).not.toMatch(new RegExp(CANARY, 'i'))
  expect(text).not.toContain(VALUE)
  expect(text).not.toContain('unexpected')
}

describe('no secret is told', () => {
  it.each([
    ['status'],
    ['status', '--at', 'latest', '--json'],
    ['verify'],
    ['snapshot', '--json'],
    ['drill', '--json'],
    ['head'],
    ['gap', 'list', '--json'],
    ['key', 'list'],
    ['restore', '--to', 'latest', '--target', 'file:./restored'],
    ['decrypt', '--target', './plain', '--json'],
    ['erase', 'users/u2', '--reason', 'asked for', '--yes', '--json'],
  ])('by a command that shows no records: %s %s %s', async (...args) => {
    const { code, text } = await said(args)
    expect(code, text).toBe(0)
    expect(text).not.toContain(CANARY)
    expect(text).not.toContain(VALUE)
  })

  it('by a command that a passphrase opens the store for', async () => {
    const { code, text } = await said(['status', '--json'], WORDS)
    expect(code, text).toBe(0)
    expect(text).not.toContain(CANARY)
  })

  it.each([[['log', 'users/u1']], [['show', 'users/u1', '--json']]])('by one that shows records: %s', async (args) => {
    const { code, text } = await said(args)
    expect(code, text).toBe(0)
    expect(text).toContain(VALUE)
    expect(text).not.toContain(CANARY)
  })

  it('while keys are added and replaced', async () => {
    const next = { TIDEMARK_NEW_PASSPHRASE: `${CANARY}-next` }
    for (const [args, env] of [
      [['key', 'add'], { ...OPEN, ...next }],
      [['key', 'rotate', '--json'], { ...WORDS, ...next }],
    ] as const) {
      const { code, text } = await said(args, env)
      expect(code, text).toBe(0)
      expect(text).not.toContain(CANARY)
    }
    const back = { ...WORDS, TIDEMARK_PASSPHRASE: `${CANARY}-next`, TIDEMARK_NEW_KEY: KEY }
    const { code, text } = await said(['key', 'rotate'], back)
    expect(code, text).toBe(0)
    expect(text).not.toContain(CANARY)
  })

  const login = `${CANARY}id:${CANARY}secret`
  it.each<[string, string[], Record<string, string>?]>([
    ['a wrong passphrase', ['status'], { TIDEMARK_PASSPHRASE: `${CANARY}-wrong` }],
    ['a key that is none', ['status'], { TIDEMARK_KEY: `${CANARY}-short` }],
    ['two secrets', ['status'], { ...OPEN, TIDEMARK_KEY: `${CANARY}-short` }],
    ['credentials in the URL of a store', ['status', '--store', `s3://${login}@bucket/prefix`]],
    ['credentials in an endpoint', ['status', '--store', `s3://bucket/p?endpoint=http://${login}@${DOWN}`]],
    ['a secret as a parameter', ['verify', '--store', `s3://bucket/p?secretAccessKey=${CANARY}`]],
    ['credentials in a URL of no kind', ['status', '--store', `ftp://${login}@host/`]],
    ['a URL that is none', ['status', '--store', `s3://${login}@/`]],
    ['credentials in a file URL', ['status', '--store', `file://${login}@host/x`]],
    ['a secret as an option', ['status', `--passphrase=${CANARY}`]],
    ['a secret as an option and its value', ['status', '--passphrase', CANARY]],
    ['a secret as an argument', ['status', CANARY]],
    ['a secret as a command', [CANARY]],
    ['a database of no kind', ['restore', '--to', 'latest', '--target', `ftp://${login}@host/db`, '--yes']],
    ['a moment that is none', ['show', 'users/u1', '--at', 'yesterday']],
    ['a record that is not there', ['log', 'users/none']],
    ['a head that is none', ['verify', '--head', 'nonsense']],
  ])('by an error: %s', async (_, args, env = OPEN) => {
    for (const all of [args, [...args, '--json']]) expectSilence(await saidHere(all, env))
  })

  it.each([
    ['a server that is down', ['status', '--store', `s3://bucket/p?endpoint=http://${DOWN}&region=x`]],
    ['a database that is down', ['restore', '--to', 'latest', '--target', `http://${login}@${DOWN}/bucket`, '--yes']],
    ['a database to compare that is down', ['reconcile', '--json', '--source', `http://${login}@${DOWN}/bucket`]],
  ])('by an error of a process: %s', async (_, args) => {
    expectSilence(await said(args))
  })

  it('to whoever lists processes', async () => {
    // It takes the connection and says nothing: the command waits.
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const target = `http://${login}@127.0.0.1:${port}/bucket`
    const env = { ...process.env, ...OPEN, TIDEMARK_STORE: store }
    const connected = new Promise((resolve) => server.once('connection', resolve))
    const child = execFile(process.execPath, [BIN, 'restore', '--to', 'latest', '--target', target, '--yes'], { env })
    try {
      await connected
      const seen = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
      const tasks = readdirSync(`/proc/${child.pid}/task`)
      const names = tasks.map((task) => readFileSync(`/proc/${child.pid}/task/${task}/comm`, 'utf8'))
      expect(seen).toMatch(/^tidemark/)
      expect(`${seen}${names.join()}`).not.toContain(CANARY)
    } finally {
      child.kill('SIGKILL')
      server.close()
    }
  })

  it('by what an error or an object of the library holds', async () => {
    const credentials = {
      accessKeyId: 'AKIDEXAMPLE',
      secretAccessKey: `${CANARY}-secret`,
      sessionToken: `${CANARY}-token`,
    }
    const spec = { url: 's3://bucket/p', endpoint: `http://${DOWN}`, credentials }
    const deep = { depth: 20, showHidden: true }
    const failed = await Tidemark.open({ store: { url: store, encryption: { passphrase: `${CANARY}-wrong` } } }).then(
      () => null,
      (error: unknown) => error,
    )
    expect(failed).toMatchObject({ code: 'ENCRYPTION_KEY_WRONG' })
    expect(inspect(failed, deep)).not.toContain(CANARY)
    const down = await Tidemark.open({ store: spec }).then(
      () => null,
      (error: unknown) => error,
    )
    expect(down).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(inspect(down, deep)).not.toContain(CANARY)
    const database = new ModelDatabase()
    const options = { url: `file:${directory}/other`, encryption: { key: KEY } }
    const open = await Tidemark.capture({ store: options, source: database, journal: `${directory}/other-journal` })
    expect(inspect(open, deep)).not.toContain(CANARY)
    await open.close()
  })
})
