import { Readable } from 'node:stream'
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { concat, EMPTY, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { conditionsUnsupported } from './conditions.ts'
import type { Keeping } from './keeping.ts'
import {
  checkBody,
  checkKey,
  checkRange,
  invalidKey,
  isPrefix,
  keyProblem,
  objectExists,
  objectNotFound,
  objectTooLarge,
  objectTooShort,
} from './keys.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'
import type { Retry } from './retry.ts'
import { createClient, type S3Options } from './s3-client.ts'
import { deleteObjects } from './s3-delete.ts'
import { s3Code, s3Error, s3Status } from './s3-errors.ts'
import { bucketKeeping } from './s3-keeping.ts'
import type { S3Place } from './s3-place.ts'
import { partsOf, uploadParts } from './s3-upload.ts'

const MIB = 1_048_576
/** Larger bodies go in parts. */
const SINGLE_BYTES = 16 * MIB
const PART_BYTES = 8 * MIB
const MAX_PARTS = 10_000

/** Runs once: what is not a part of a stream is repeated by the store's retry wrapper alone. */
const once: Retry = (act) => act(0)

/**
 * Objects in a bucket of S3, or of a server that speaks its protocol. Conditional puts rely on `If-None-Match: *`, so
 * the server must honour it on PutObject (AWS and Ceph do). They are never made in parts, because Ceph ignores the
 * condition there.
 */
export class S3Store implements ObjectStore {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #retry: Retry
  #bucketSeen = false

  /**
   * `retry` repeats the requests of a streamed put, whose bytes nobody could give a second time. No other request is
   * repeated here: wrap the store in `withRetry`.
   */
  constructor(options: S3Options, retry: Retry = once) {
    this.#client = createClient(options)
    this.#bucket = options.bucket
    this.#prefix = options.prefix === undefined || options.prefix === '' ? '' : `${options.prefix.replace(/\/+$/, '')}/`
    this.#retry = retry
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    const target = { client: this.#client, bucket: this.#bucket, key: this.#key(key), retry: once }
    checkBody(body, options)
    if (!(body instanceof Uint8Array)) return this.#putStream(key, body)
    if (options?.ifAbsent === true) return this.#putAbsent(key, body)
    if (body.length <= SINGLE_BYTES) return this.#putWhole(key, body, {})
    await uploadParts(target, partsOf(body, Math.max(PART_BYTES, Math.ceil(body.length / MAX_PARTS))))
  }

  async #putStream(key: string, body: AsyncIterable<Uint8Array>): Promise<void> {
    const parts = partsOf(body, PART_BYTES)
    const held: Uint8Array[] = []
    let heldBytes = 0
    for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
      held.push(next.value)
      heldBytes += next.value.length
      if (heldBytes <= SINGLE_BYTES) continue
      const target = { client: this.#client, bucket: this.#bucket, key: this.#key(key), retry: this.#retry }
      return uploadParts(target, chain(held, parts))
    }
    await this.#retry(() => this.#putWhole(key, held.length === 0 ? EMPTY : concat(held), {}))
  }

  async #putWhole(key: string, body: Uint8Array, condition: { IfNoneMatch?: string }): Promise<void> {
    const put = new PutObjectCommand({ Bucket: this.#bucket, Key: this.#key(key), Body: body, ...condition })
    await this.#client.send(put).catch((error: unknown) => this.#raise(error, key))
  }

  async #putAbsent(key: string, body: Uint8Array): Promise<void> {
    try {
      await this.#putWhole(key, body, { IfNoneMatch: '*' })
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      if (s3Status(cause) === 412) throw objectExists(key, cause)
      if (s3Status(cause) === 501)
        throw conditionsUnsupported(`The bucket '${this.#bucket}'`, 'says that it cannot make them', cause)
      // Another conditional put of the key was under way. Who lost is known only where an object is there now.
      if (s3Code(cause) !== 'ConditionalRequestConflict') throw error
      if ((await this.head(key)) !== null) throw objectExists(key, cause)
      throw conflictOpen(key, cause)
    }
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const input = { Bucket: this.#bucket, Key: this.#key(key) }
    if (range === undefined) return this.#read(new GetObjectCommand(input), key)
    checkRange(range)
    // HTTP has no form for an empty range.
    if (range.start === range.end) return this.#readNothing(key, range)
    const command = new GetObjectCommand({ ...input, Range: `bytes=${range.start}-${range.end - 1}` })
    const bytes = await this.#read(command, key).catch((error: unknown) => {
      if (error instanceof Error && s3Status(error.cause) === 416) throw objectTooShort(key, range, null)
      throw error
    })
    if (bytes.length < range.end - range.start) throw objectTooShort(key, range, range.start + bytes.length)
    return bytes
  }

  async #readNothing(key: string, range: ByteRange): Promise<Uint8Array> {
    const info = await this.head(key)
    if (info === null) throw objectNotFound(key)
    if (range.end > info.bytes) throw objectTooShort(key, range, info.bytes)
    return EMPTY
  }

  async #read(command: GetObjectCommand, key: string): Promise<Uint8Array> {
    try {
      const answer: GetObjectCommandOutput = await this.#client.send(command)
      if ((answer.ContentLength ?? 0) > LIMITS.objectBytes) {
        if (answer.Body instanceof Readable) answer.Body.destroy()
        throw objectTooLarge(key, answer.ContentLength ?? 0)
      }
      return (await answer.Body?.transformToByteArray()) ?? EMPTY
    } catch (error) {
      return this.#raise(error, key)
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: this.#key(key) })
    try {
      const answer = await this.#client.send(command)
      return { key, bytes: answer.ContentLength ?? 0 }
    } catch (error) {
      if (s3Status(error) !== 404) return this.#raise(error, key)
      await this.#checkBucket()
      return null
    }
  }

  /** A HEAD says no more than 404: whether the object is missing or the bucket, only the bucket can tell. */
  async #checkBucket(): Promise<void> {
    if (this.#bucketSeen) return
    await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket })).catch((error: unknown) => {
      if (s3Status(error) !== 404) return this.#raise(error, null)
      throw s3Error(
        Object.assign(new Error('NoSuchBucket', { cause: error }), { name: 'NoSuchBucket' }),
        this.#bucket,
        null,
      )
    })
    this.#bucketSeen = true
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    if (!isPrefix(prefix)) return
    const startAfter = options?.startAfter
    const input = {
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      EncodingType: 'url' as const, // XML cannot hold every character that a key can.
      ...(startAfter === undefined || startAfter === '' ? {} : { StartAfter: this.#prefix + startAfter }),
    }
    let token: string | undefined
    do {
      const command = new ListObjectsV2Command(token === undefined ? input : { ...input, ContinuationToken: token })
      const page = await this.#client.send(command).catch((error: unknown) => this.#raise(error, null))
      // Not every server encodes what it was asked to, and a `%` or `+` of a key as it is must not be decoded.
      const decode = page.EncodingType === 'url' ? urlDecoded : (text: string): string => text
      for (const { Key, Size } of page.Contents ?? []) {
        const key = decode(Key ?? '').slice(this.#prefix.length)
        // Such as the 'folder/' markers that consoles make.
        if (keyProblem(key) === null) yield { key, bytes: Size ?? 0 }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#placed(keys, deleteObjects)
  }

  keeping(keys: readonly string[]): Promise<Keeping> {
    return this.#placed(keys, bucketKeeping)
  }

  async #placed<T>(keys: readonly string[], act: (place: S3Place, full: readonly string[]) => Promise<T>): Promise<T> {
    const full = [...new Set(keys.map((key) => this.#key(key)))]
    return act({ client: this.#client, bucket: this.#bucket, prefix: this.#prefix }, full)
  }

  #key(key: string): string {
    checkKey(key)
    const full = this.#prefix + key
    if (utf8(full).length > LIMITS.keyBytes) throw invalidKey(key, 'is too long together with the prefix of the store')
    return full
  }

  #raise(error: unknown, key: string | null): never {
    throw s3Error(error, this.#bucket, key)
  }
}

function urlDecoded(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

function conflictOpen(key: string, cause: unknown): TidemarkError {
  return new TidemarkError('STORE_UNAVAILABLE', `A put of '${key}' ran into another one and was given up.`, {
    hint: 'Try again: something else changed it meanwhile. A process that captures does so by itself.',
    cause,
    details: { key },
  })
}

async function* chain(first: Uint8Array[], rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let part = first.shift(); part !== undefined; part = first.shift()) yield part
  yield* rest
}
