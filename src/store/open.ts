import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TidemarkError } from '../base/errors.ts'
import { checkEncryption, type EncryptionOptions } from './encryption/secret.ts'
import { FilesystemStore } from './filesystem.ts'
import { MemoryStore } from './memory.ts'
import type { ObjectStore } from './object-store.ts'
import { ownStore } from './own-store.ts'
import { type RetryOptions, retrying, withRetry } from './retry.ts'
import type { S3Credentials, S3Options } from './s3-client.ts'

/** Where a store is. What is not given here and not in the URL is found in the AWS way: environment, profile, instance. */
export interface StoreSpec {
  /** `file:./dir`, `file:///dir`, `s3://bucket/prefix`, `memory:name`, or a plain path; with `objects`, how that is called. */
  readonly url: string
  /**
   * A store of your own, which passes `objectStoreContract` of `tidemark/testing`. Its `url` has a scheme of its own, is the same on every
   * machine, and says where it is without secrets: people see it. Requests that fail with a `retriable` error are repeated.
   */
  readonly objects?: ObjectStore
  /** URL of a server that speaks the S3 protocol. Default: AWS. */
  readonly endpoint?: string
  readonly region?: string
  readonly credentials?: S3Credentials
  /** The bucket in the path and not in the host name. Default: true with an `endpoint`. */
  readonly pathStyle?: boolean
  /**
   * What encrypts everything before it leaves this process. Default: `TIDEMARK_PASSPHRASE`, `TIDEMARK_KEY`, or a file
   * named by either with `_FILE`; where none is set, nothing is encrypted.
   */
  readonly encryption?: EncryptionOptions
  /**
   * Where the keys of the records are kept: a place that allows deletion. Chosen when the store is made: then every
   * image of a record is sealed with a key of its own, and erasing the record destroys that. Default:
   * `TIDEMARK_RECORD_KEYS`.
   */
  readonly recordKeys?: string | StoreSpec
}

type Place =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'memory'; readonly name: string }
  | { readonly kind: 's3'; readonly options: S3Options }
  | { readonly kind: 'own'; readonly url: string; readonly objects: ObjectStore }

const S3_MEMBERS = ['endpoint', 'region', 'credentials', 'pathStyle']
const MEMBERS = ['url', 'objects', ...S3_MEMBERS, 'encryption', 'recordKeys']
const METHODS = ['put', 'get', 'head', 'list', 'delete']
const CREDENTIAL_MEMBERS = ['accessKeyId', 'secretAccessKey', 'sessionToken']
/** The AWS SDK writes this into credentials that it was given before. */
const SDK_MEMBER = '$source'
const PARAMETERS = ['region', 'endpoint', 'path-style']
const SCHEMES = ['file', 'memory', 's3']
const OWN = "One of your own is given as { url: 'azure://account/container', objects: store }: see schemas/ADAPTERS.md."
const FORMS =
  'file:./dir, file:///dir, s3://bucket/prefix?region=..&endpoint=..&path-style=true, memory:name, or a path'

const memoryStores = new Map<string, MemoryStore>()

/**
 * The place that `spec` names, with failed requests repeated: objects as they are stored. Encryption is not done here,
 * since it takes a look at the store. Nothing is read or written yet. `memory:name` is one store per name and process. Errors: `OPTION_INVALID` for a form, parameter or member that is not known.
 */
export async function openStore(spec: string | StoreSpec, retry: RetryOptions = {}): Promise<ObjectStore> {
  const place = parse(spec)
  if (place.kind === 'file') return withRetry(new FilesystemStore(place.path, retry.clock), retry)
  if (place.kind === 's3') {
    // The SDK takes a sixth of a second to load: only a store that needs it loads it.
    const { S3Store } = await import('./s3.ts')
    return withRetry(new S3Store(place.options, retrying(retry)), retry)
  }
  if (place.kind === 'own') return withRetry(ownStore(place.objects, place.url), retry)
  const store = memoryStores.get(place.name) ?? new MemoryStore()
  memoryStores.set(place.name, store)
  return withRetry(store, retry)
}

/** A store that only this machine can reach: `path` of its directory, or null where it is in the memory of this process. */
export interface StoreTree {
  readonly path: string | null
}

/** The tree that `spec` names; null where other machines may reach the store. Errors: as `openStore`. */
export function treeOf(spec: string | StoreSpec): StoreTree | null {
  const place = parse(spec)
  if (place.kind === 's3' || place.kind === 'own') return null
  return { path: place.kind === 'file' ? place.path : null }
}

/** `spec` as a person may see it: in full, without credentials. */
export function describeStore(spec: string | StoreSpec): string {
  const place = parse(spec)
  if (place.kind === 'file') return `file:${place.path}`
  if (place.kind === 'memory') return `memory:${place.name}`
  if (place.kind === 'own') return place.url
  const { bucket, prefix, endpoint, region } = place.options
  const where = [endpoint === undefined ? '' : `at ${endpoint}`, region === undefined ? '' : `in ${region}`]
  return [`s3://${bucket}${prefix === undefined ? '' : `/${prefix}`}`, ...where].filter((part) => part !== '').join(' ')
}

function parse(given: string | StoreSpec): Place {
  const spec = typeof given === 'string' ? { url: given } : given
  if (typeof spec !== 'object' || spec === null || typeof spec.url !== 'string' || spec.url === '') {
    if (isObjectStore(spec)) throw invalid('A store of your own was given without its URL.', OWN)
    throw invalid('A store must be given as a URL or path, or as an object with one in its member url.', FORMS)
  }
  refuseOthers(spec, MEMBERS, 'a store')
  if (spec.encryption !== undefined) checkEncryption(spec.encryption)
  const scheme = schemeOf(spec.url)
  if (spec.objects !== undefined) return ownPlace(spec, scheme)
  if (scheme === 's3') return { kind: 's3', options: s3Options(spec) }
  const surplus = S3_MEMBERS.find((member) => member in spec)
  if (surplus !== undefined) throw invalid(`'${surplus}' is for s3:// stores only.`, FORMS)
  if (scheme === undefined) return { kind: 'file', path: resolve(spec.url) }
  if (scheme === 'file') return { kind: 'file', path: filePath(spec.url) }
  if (scheme === 'memory') return { kind: 'memory', name: memoryName(spec.url) }
  throw invalid(`There is no store of the kind '${scheme}:'.`, `Use one of: ${FORMS}. ${OWN}`)
}

function schemeOf(url: string): string | undefined {
  return /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase()
}

/** The scheme of a URL whose store is somebody's own; null where it is one of ours, or no URL. */
export function ownScheme(url: string): string | null {
  const scheme = schemeOf(url)
  return scheme === undefined || SCHEMES.includes(scheme) ? null : scheme
}

function ownPlace({ url, objects, ...rest }: StoreSpec, scheme: string | undefined): Place {
  if (!isObjectStore(objects)) throw invalid(`objects is no store: it has no ${METHODS.join(', ')}.`, OWN)
  const surplus = S3_MEMBERS.find((member) => member in rest)
  if (surplus !== undefined) throw invalid(`'${surplus}' is for s3:// stores only.`, OWN)
  const name = URL.canParse(url) ? new URL(url) : null
  if (scheme === undefined || SCHEMES.includes(scheme) || name === null) {
    throw invalid('The URL of a store of your own has to have a scheme of its own.', OWN)
  }
  // Parameters are the adapter's, and may be a token.
  if (name.username === '' && name.password === '') return { kind: 'own', url: url.replace(/[?#].*$/s, ''), objects }
  throw invalid('Credentials in the URL of a store are refused: URLs end up in logs.', OWN)
}

function isObjectStore(value: unknown): value is ObjectStore {
  return METHODS.every((method) => typeof Reflect.get(Object(value), method) === 'function')
}

/** `file://...` is a URL, percent-encoded; what follows `file:` alone is a path as it stands. */
function filePath(url: string): string {
  if (/[?#]/.test(url)) throw invalid('A file: store takes no parameters.', FORMS)
  const rest = url.slice('file:'.length)
  if (rest === '') throw invalid('The file: store has no path.', FORMS)
  if (!rest.startsWith('//')) return resolve(rest)
  try {
    return fileURLToPath(url)
  } catch (error) {
    const hint = 'Use file:///absolute/path or file:./relative/path.'
    throw invalid('The file: URL names no path of this machine.', hint, error)
  }
}

function memoryName(url: string): string {
  const name = url.slice('memory:'.length)
  if (!/[?#/]/.test(name) && name !== '') return name
  throw invalid('A memory: store has a name without / ? #, and no parameters.', 'Such as memory:trial.')
}

function s3Options(spec: StoreSpec): S3Options {
  const url = parseUrl(spec.url, 's3://bucket/prefix')
  if (url.username !== '' || url.password !== '' || url.host.includes('@')) {
    const hint = 'Use the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile, or the member credentials.'
    throw invalid('Credentials in the URL of a store are refused: URLs end up in logs.', hint)
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/.test(url.host) || url.hash !== '') {
    throw invalid('The s3:// URL has no valid bucket name.', FORMS)
  }
  const parameters = parametersOf(url)
  const endpoint = oneOf('endpoint', spec.endpoint, parameters.get('endpoint'))
  const region = oneOf('region', spec.region, parameters.get('region'))
  const pathStyle = oneOf('path style', spec.pathStyle, flag(parameters.get('path-style')))
  const prefix = decode(url.pathname).replace(/^\/+|\/+$/g, '')
  return {
    bucket: url.host,
    ...(prefix === '' ? {} : { prefix }),
    ...(endpoint === undefined ? {} : { endpoint: checkEndpoint(endpoint) }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { forcePathStyle: pathStyle }),
    ...(spec.credentials === undefined ? {} : { credentials: checkCredentials(spec.credentials) }),
  }
}

function parametersOf(url: URL): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const [name, value] of url.searchParams) {
    if (!PARAMETERS.includes(name)) throw invalid(`An s3:// URL has no parameter '${name}'.`, accepted(PARAMETERS))
    if (parameters.has(name) || value === '') {
      throw invalid(`The parameter '${name}' must have one value.`, accepted(PARAMETERS))
    }
    parameters.set(name, value)
  }
  return parameters
}

function flag(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined
  if (value === 'true' || value === 'false') return value === 'true'
  throw invalid("The parameter 'path-style' is neither true nor false.", 'Use path-style=true or path-style=false.')
}

function oneOf<T>(name: string, member: T | undefined, parameter: T | undefined): T | undefined {
  if (member === undefined || parameter === undefined) return member ?? parameter
  throw invalid(`The ${name} is given twice: in the URL and beside it.`, 'Leave one of them out.')
}

function checkEndpoint(endpoint: string): string {
  const url = parseUrl(endpoint, 'https://host:port')
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (/^https?:$/.test(url.protocol) && isPlain) return endpoint
  throw invalid(
    'The endpoint is no http or https URL without credentials and parameters.',
    'Such as https://host:port.',
  )
}

function checkCredentials(credentials: S3Credentials): S3Credentials {
  if (typeof credentials !== 'object' || credentials === null)
    throw invalid('credentials is no object.', accepted(CREDENTIAL_MEMBERS))
  refuseOthers(credentials, CREDENTIAL_MEMBERS, 'credentials')
  const { accessKeyId, secretAccessKey, sessionToken = '-' } = credentials
  const isFilled = [accessKeyId, secretAccessKey, sessionToken].every((part) => typeof part === 'string' && part !== '')
  if (isFilled) return credentials
  throw invalid('credentials must have accessKeyId and secretAccessKey, as text.', accepted(CREDENTIAL_MEMBERS))
}

function refuseOthers(given: object, known: readonly string[], what: string): void {
  const other = Object.keys(given).find((member) => !known.includes(member) && member !== SDK_MEMBER)
  if (other !== undefined) throw invalid(`There is no member '${other}' of ${what}.`, accepted(known))
}

/** The message must not show the text: it may hold a secret in the wrong place. */
function parseUrl(text: string, form: string): URL {
  if (typeof text === 'string' && URL.canParse(text) && text.includes('://')) return new URL(text)
  throw invalid(`The URL is not of the form ${form}.`, FORMS)
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch (error) {
    throw invalid('The prefix in the s3:// URL is not percent-encoded rightly.', 'Write % as %25.', error)
  }
}

function accepted(names: readonly string[]): string {
  return `Accepted: ${names.join(', ')}.`
}

function invalid(message: string, hint: string, cause?: unknown): TidemarkError {
  return new TidemarkError('OPTION_INVALID', message, { hint: hint === FORMS ? `Use one of: ${FORMS}.` : hint, cause })
}
