import { scrypt } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { text, utf8 } from '../../base/bytes.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { SecretKey } from './store-key.ts'

/** A secret, or what gives it when it is needed: a key service is asked there. */
export type Given<T> = T | (() => T | Promise<T>)

/** What opens an encrypted store: a passphrase, or a key of 32 bytes (as bytes, or as text in base64 or hex). */
export type EncryptionOptions = { readonly passphrase: Given<string> } | { readonly key: Given<Uint8Array | string> }

/** How a passphrase becomes a key (RFC 7914). */
export interface ScryptParameters {
  /** CPU and memory cost: 128 x N x r bytes. */
  readonly N: number
  readonly r: number
  readonly p: number
  readonly salt: Uint8Array
}

const MOST_SECRET_BYTES = 65_536
const scryptAsync = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt)

/** A passphrase or a key. Nothing shows what it is: not a log, not JSON, not an error. */
export class Secret {
  readonly kind: 'passphrase' | 'key'
  readonly #value: Uint8Array

  private constructor(kind: Secret['kind'], value: Uint8Array) {
    this.kind = kind
    this.#value = value
  }

  /** The same passphrase, whichever way it comes in: see `withoutFraming`. Errors: `OPTION_INVALID` where it is empty. */
  static ofPassphrase(passphrase: unknown, what: string): Secret {
    const given = typeof passphrase === 'string' ? withoutFraming(passphrase) : ''
    if (given !== '') return new Secret('passphrase', utf8(given.normalize()))
    throw invalid(`${what} is empty, or no text.`, 'Give a passphrase; nothing is ever stored without one instead.')
  }

  /** Errors: `OPTION_INVALID` where it is neither 32 bytes nor their base64 or hex. */
  static ofKey(key: unknown, what: string): Secret {
    const bytes = typeof key === 'string' ? keyBytes(withoutFraming(key).trim()) : key
    if (bytes instanceof Uint8Array && bytes.length === 32) return new Secret('key', Uint8Array.from(bytes))
    throw invalid(`${what} is no key of 32 bytes.`, 'Give 32 random bytes as base64 or hex: openssl rand -base64 32')
  }

  /** The key that wraps the store key: with parameters it is worked out from the passphrase, which takes time. */
  async wrappingKey(parameters: ScryptParameters | null): Promise<SecretKey> {
    if (parameters === null) return new SecretKey(this.#value)
    const { N, r, p, salt } = parameters
    const maxmem = 128 * N * r + 128 * r * p + 1_048_576
    return new SecretKey(await scryptAsync(this.#value, salt, 32, { N, r, p, maxmem }))
  }
}

/** What editors and `echo` put around a text is no part of a secret: a byte order mark in front, one line end behind. */
function withoutFraming(text: string): string {
  return text.replace(/^\ufeff/, '').replace(/\r?\n$/, '')
}

/** Refuses options that name no secret, or two, or anything else. Errors: `OPTION_INVALID`. */
export function checkEncryption(given: unknown): void {
  const members = typeof given === 'object' && given !== null ? Object.keys(given) : []
  if (members.length === 1 && (members[0] === 'passphrase' || members[0] === 'key')) return
  throw invalid(
    'encryption must have exactly one member: passphrase or key.',
    'Such as encryption: { passphrase: () => readSecret() }, or { key } with 32 bytes.',
  )
}

/** The secret that options give; a function among them is called. Errors: `OPTION_INVALID`; `ENCRYPTION_KEY_NEEDED` where it fails. */
export async function secretOf(options: EncryptionOptions): Promise<Secret> {
  if ('passphrase' in options) {
    return Secret.ofPassphrase(await askedFor(options.passphrase), 'The passphrase in the options of the store')
  }
  return Secret.ofKey(await askedFor(options.key), 'The key in the options of the store')
}

async function askedFor<T>(given: Given<T>): Promise<T> {
  if (typeof given !== 'function') return given
  try {
    return await (given as () => T | Promise<T>)()
  } catch (cause) {
    throw new TidemarkError(
      'ENCRYPTION_KEY_NEEDED',
      `The function that gives the secret of the store has failed: ${messageOf(cause)}. Nothing was read or written.`,
      { hint: 'See that the service behind it can be reached from here, then start again.', cause },
    )
  }
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The secret in the environment: `<prefix>PASSPHRASE`, `<prefix>KEY`, or a file named by either with `_FILE`; null
 * where none of them is set. Errors: `OPTION_INVALID` where two are, one is empty or a file cannot be read: what was
 * meant to be encrypted is never taken for something else.
 */
export async function secretFromEnvironment(environment: Environment, prefix = 'TIDEMARK_'): Promise<Secret | null> {
  const names = ['PASSPHRASE', 'PASSPHRASE_FILE', 'KEY', 'KEY_FILE'].map((name) => prefix + name)
  const set = names.filter((name) => environment[name] !== undefined)
  const [name] = set
  if (name === undefined) return null
  if (set.length > 1) throw invalid(`${set.join(' and ')} are set, and only one of them may be.`, 'Unset all but one.')
  const value = environment[name] ?? ''
  if (value === '') throw invalid(`${name} is set, and empty.`, `Set it, or unset it: unset ${name}`)
  const bytes = name.endsWith('_FILE') ? await readSecretFile(name, value) : utf8(value)
  if (name.includes('PASSPHRASE')) return Secret.ofPassphrase(decoded(name, bytes), name)
  return Secret.ofKey(bytes.length === 32 ? bytes : decoded(name, bytes), name)
}

async function readSecretFile(name: string, path: string): Promise<Uint8Array> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    throw invalid(
      `The file that ${name} names cannot be read. Nothing was opened or stored.`,
      `Check: ls -l "$${name}"`,
      error,
    )
  }
  if (bytes.length <= MOST_SECRET_BYTES) return bytes
  throw invalid(`The file that ${name} names has ${bytes.length} bytes and is no secret.`, `Check: ls -l "$${name}"`)
}

function decoded(name: string, bytes: Uint8Array): string {
  try {
    return text(bytes)
  } catch (error) {
    throw invalid(`${name} holds bytes that are no text.`, 'Give text in UTF-8; a key also as 32 raw bytes.', error)
  }
}

function keyBytes(encoded: string): Uint8Array | null {
  if (/^[0-9a-f]{64}$/i.test(encoded)) return Buffer.from(encoded, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(encoded) ? Buffer.from(encoded, 'base64') : null
}

function invalid(message: string, hint: string, cause?: unknown): TidemarkError {
  return new TidemarkError('OPTION_INVALID', message, { hint, cause })
}
