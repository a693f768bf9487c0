import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { TidemarkError } from '../../../src/base/errors.ts'
import { secretFor } from '../../../src/engine/opening.ts'
import { type Environment, secretFromEnvironment } from '../../../src/store/encryption/secret.ts'
import { SecretKey } from '../../../src/store/encryption/store-key.ts'
import { openStore, type StoreSpec } from '../../../src/store/open.ts'

const directory = mkdtempSync(join(tmpdir(), 'secret-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function file(content: string | Uint8Array): string {
  const path = join(directory, `${Math.random()}`)
  writeFileSync(path, content)
  return path
}

const BYTES = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1)
const HEX = Buffer.from(BYTES).toString('hex')
const BASE64 = Buffer.from(BYTES).toString('base64')
const AAD = new Uint8Array(0)

/** Whether a secret is these 32 bytes. */
async function isKey(environment: Environment): Promise<boolean> {
  const secret = await secretFromEnvironment(environment)
  const wrapped = new SecretKey(BYTES).wrap(SecretKey.random(), AAD)
  return (await secret?.wrappingKey(null))?.unwrap(wrapped, AAD) != null
}

test('a key is taken as hex, base64, and from a file as either or as its bytes', async () => {
  for (const text of [HEX, HEX.toUpperCase(), BASE64, BASE64.slice(0, 43), Buffer.from(BYTES).toString('base64url')]) {
    expect(await isKey({ TIDEMARK_KEY: text }), text).toBe(true)
    expect(await isKey({ TIDEMARK_KEY_FILE: file(`${text}\n`) }), text).toBe(true)
  }
  expect(await isKey({ TIDEMARK_KEY_FILE: file(BYTES) })).toBe(true)
  expect(await secretFromEnvironment({})).toBe(null)
})

test('a passphrase in a file is the one without the newline at its end', async () => {
  const parameters = { N: 2, r: 1, p: 1, salt: new Uint8Array(16) }
  const keyOf = async (environment: Environment): Promise<SecretKey | undefined> =>
    (await secretFromEnvironment(environment))?.wrappingKey(parameters)
  const expected = await keyOf({ TIDEMARK_PASSPHRASE: ' pässword ' })
  if (expected === undefined) throw new Error('no key')
  for (const text of [' pässword ', ' pässword \n', ' pässword \r\n', ' pa\u0308ssword ']) {
    expect((await keyOf({ TIDEMARK_PASSPHRASE_FILE: file(text) }))?.equals(expected), text).toBe(true)
  }
  expect((await keyOf({ TIDEMARK_PASSPHRASE_FILE: file(' pässword \n\n') }))?.equals(expected)).toBe(false)
})

test('what is set and cannot be used is an error that does not show it, never no encryption', async () => {
  const cases: Environment[] = [
    { TIDEMARK_PASSPHRASE: '' },
    { TIDEMARK_PASSPHRASE_FILE: '' },
    { TIDEMARK_KEY: '' },
    { TIDEMARK_KEY_FILE: join(directory, 'missing') },
    { TIDEMARK_PASSPHRASE_FILE: join(directory, 'missing') },
    { TIDEMARK_PASSPHRASE_FILE: directory },
    { TIDEMARK_PASSPHRASE_FILE: file('') },
    { TIDEMARK_PASSPHRASE_FILE: file('\n') },
    { TIDEMARK_PASSPHRASE_FILE: file(new Uint8Array([0xff, 0xfe])) },
    { TIDEMARK_PASSPHRASE_FILE: file('x'.repeat(100_000)) },
    { TIDEMARK_PASSPHRASE: 'canary-secret', TIDEMARK_PASSPHRASE_FILE: file('canary-secret') },
    { TIDEMARK_PASSPHRASE: 'canary-secret', TIDEMARK_KEY: HEX },
    { TIDEMARK_KEY: 'canary-secret' },
    { TIDEMARK_KEY: HEX.slice(1) },
    { TIDEMARK_KEY_FILE: file('canary-secret') },
  ]
  for (const environment of cases) {
    const error = await secretFromEnvironment(environment).catch((thrown: unknown) => thrown)
    expect(error, JSON.stringify(environment)).toBeInstanceOf(TidemarkError)
    expect(error).toMatchObject({ code: 'OPTION_INVALID' })
    expect(`${JSON.stringify(error)}${inspect(error)}`).not.toContain('canary-secret')
    expect(`${JSON.stringify(error)}${inspect(error)}`).not.toContain(HEX.slice(1))
  }
})

test('options come before the environment; a function is asked, also later', async () => {
  const environment = { TIDEMARK_PASSPHRASE: 'other' }
  const given: StoreSpec[] = [
    { url: 'memory:x', encryption: { key: BYTES } },
    { url: 'memory:x', encryption: { key: HEX } },
    { url: 'memory:x', encryption: { key: () => BYTES } },
    { url: 'memory:x', encryption: { key: async () => BASE64 } },
  ]
  for (const spec of given) expect((await secretFor(spec, environment))?.kind).toBe('key')
  expect((await secretFor({ url: 'memory:x', encryption: { passphrase: async () => 'p' } }, {}))?.kind).toBe(
    'passphrase',
  )
  expect((await secretFor('memory:x', environment))?.kind).toBe('passphrase')
  const failing = secretFor(
    { url: 'memory:x', encryption: { key: () => Promise.reject(new Error('no KMS')) } },
    environment,
  )
  await expect(failing).rejects.toThrow('no KMS')
})

test('options that name no secret, or two, are refused', async () => {
  const wrong: unknown[] = [{}, null, 'secret', { passphrase: 'a', key: BYTES }, { Passphrase: 'a' }, { password: 'a' }]
  for (const encryption of wrong) {
    const spec = { url: 'memory:x', encryption } as StoreSpec
    await expect(openStore(spec), JSON.stringify(encryption)).rejects.toThrow(TidemarkError)
  }
  const empty: unknown[] = [
    { passphrase: '' },
    { passphrase: 5 },
    { key: 'short' },
    { key: new Uint8Array(31) },
    { key: () => '' },
  ]
  for (const encryption of empty) {
    const spec = { url: 'memory:x', encryption } as StoreSpec
    await expect(secretFor(spec, {}), JSON.stringify(encryption)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  }
})

test('nothing prints a secret', async () => {
  const secret = await secretFromEnvironment({ TIDEMARK_PASSPHRASE: 'canary-secret' })
  const key = new SecretKey(BYTES)
  const shown = [
    inspect(secret, { depth: 9 }),
    JSON.stringify(secret),
    String(secret),
    inspect(key, { depth: 9 }),
    JSON.stringify(key),
  ]
  for (const text of shown) {
    expect(text).not.toContain('canary-secret')
    expect(text).not.toContain(HEX.slice(0, 8))
  }
})
