import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { type Secret, secretFromEnvironment, secretOf } from '../../src/store/encryption/secret.ts'
import { jsonLines } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** What somebody types who has never used it. */
let home = ''
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'first-hour-'))
  const database = new ModelDatabase('memory://app')
  const capture = await Tidemark.capture({ store: `file:${home}/store`, source: database, ack: 'memory' })
  await database.write({ kind: 'record', resource: 'users', id: '1' }, recordImage({ id: '1' }))
  await capture.close()
})
afterAll(() => rm(home, { recursive: true, force: true }))

test('the names of groups alone, help, and nothing at all, print help', async () => {
  for (const words of [[], ['help'], ['gap'], ['stream'], ['key'], ['help', 'gap']]) {
    const { code, out, err } = await tidemark(home, words)
    expect([code, err], words.join(' ')).toEqual([0, ''])
    expect(out).toMatch(new RegExp(`^Usage: tidemark ${words.at(-1) === 'help' ? '' : (words.at(-1) ?? '')}`))
  }
})

test('a mistyped command is answered with the one that was meant, and what may be a secret is not repeated', async () => {
  for (const [typed, meant] of [
    [['staus'], 'status'],
    [['gap', 'lits'], 'list'],
    [['restor', '--to', 'latest'], 'restore'],
  ] as const) {
    const { code, out, err } = await tidemark(home, typed)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain(`Did you mean ${meant}?`)
  }
  const option = await tidemark(home, ['gap', 'list', '--sotre', 'x'])
  expect(option.err).toMatch(/Did you mean --store\?.*\nnext: See tidemark gap list --help\.\n$/)
  const { err } = await tidemark(home, ['s3://key:secret@host/bucket'])
  expect(err).toContain('Unknown command')
  expect(err).not.toContain('secret')
})

test('everything that a command still needs is told at once', async () => {
  for (const [typed, needs] of [
    [['restore'], 'tidemark restore needs --to <moment> and --target <target>.'],
    [['restore', '--to', 'latest'], 'tidemark restore needs --target <target>.'],
    [['erase'], 'tidemark erase needs <resource/id> and --reason <text>.'],
    [['gap', 'acknowledge', 'a'], 'tidemark gap acknowledge needs <first-last> and --reason <text> and --name <who>.'],
    [['show'], 'tidemark show needs <resource/id>.'],
  ] as const) {
    const { code, err } = await tidemark(home, typed)
    expect([code, err.split('\n')[0]]).toEqual([2, `error OPTION_INVALID: ${needs} Nothing was done.`])
  }
})

test('the keys of a store that is not encrypted: nobody is told of a key that was not given', async () => {
  const { code, err } = await tidemark(home, ['key', 'list', '--store', 'file:store'])
  expect(code).toBe(5)
  expect(err).toContain('is not encrypted: it has no keys')
  expect(err).not.toContain('was given')
  const decrypt = await tidemark(home, ['decrypt', '--store', 'file:store', '--target', 'file:plain'])
  expect(decrypt.code).toBe(5)
  expect(decrypt.err).toContain('is not encrypted')
  expect(decrypt.err).not.toContain('was given')
})

test('the erasure of a mistyped record says that no file names it', async () => {
  const words = ['erase', 'users/nobody', '--reason', 'typed', '--store', 'file:store', '--dry-run']
  const { code, out } = await tidemark(home, words)
  expect(code).toBe(0)
  expect(out).toContain('No file of the store names this record')
})

test('stdout has JSON alone with --json, whatever s3db.js is told to log', async () => {
  const target = `file://${home}/copy`
  const words = ['restore', '--to', 'latest', '--target', target, '--store', 'file:store', '--dry-run', '--json']
  const { code, out } = await tidemark(home, words, { S3DB_LOG_LEVEL: 'trace' })
  expect(code).toBe(0)
  expect(jsonLines(out)).toMatchObject([{ written: false }])
})

test('what has failed for good does not say that it goes on', async () => {
  const store = 's3://bucket/prefix?endpoint=http://127.0.0.1:1&region=us-east-1'
  const { code, err } = await tidemark(home, ['status', '--store', store], {
    AWS_ACCESS_KEY_ID: 'a',
    AWS_SECRET_ACCESS_KEY: 'b',
  })
  expect(code).toBe(6)
  expect(err).toContain('STORE_UNAVAILABLE')
  expect(err).not.toContain('It is tried again')
})

test('a passphrase is the same whichever way it comes in', async () => {
  const directory = join(home, 'secrets')
  await mkdir(directory)
  const plain = 'correct horse  battery '
  const salt = new Uint8Array(16)
  const derived = async (secret: Secret | null): Promise<Uint8Array> => {
    const key = await secret?.wrappingKey({ N: 2, r: 1, p: 1, salt })
    if (key === undefined) throw new Error('no secret')
    return key.seal(new Uint8Array(12), new Uint8Array(4), new Uint8Array(0))
  }
  const expected = await derived(await secretOf({ passphrase: plain }))
  const forms = [plain, `${plain}\n`, `${plain}\r\n`, `\ufeff${plain}`, `\ufeff${plain}\r\n`]
  for (const [i, form] of forms.entries()) {
    const path = join(directory, String(i))
    await writeFile(path, form)
    for (const passphrase of [form, () => form]) expect(await derived(await secretOf({ passphrase }))).toEqual(expected)
    expect(await derived(await secretFromEnvironment({ TIDEMARK_PASSPHRASE: form }))).toEqual(expected)
    expect(await derived(await secretFromEnvironment({ TIDEMARK_PASSPHRASE_FILE: path }))).toEqual(expected)
  }
  for (const other of [plain.trim(), `${plain}\n\n`, ` ${plain}`]) {
    expect(await derived(await secretOf({ passphrase: other }))).not.toEqual(expected)
  }
  await expect(secretOf({ passphrase: '\n' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
})
