import { posix } from 'node:path'
import type { Write } from '../capture/source.ts'
import type { Image, Item } from '../model/event.ts'
import { mapConcurrently } from './access.ts'
import type { AwsClient, AwsCommand } from './client.ts'
import { isRefusal } from './errors.ts'
import { keyOfItem } from './keys.ts'
import type { Reader } from './reader.ts'

const ONE_KEY = new Set([
  'PutObjectCommand',
  'CopyObjectCommand',
  'DeleteObjectCommand',
  'CompleteMultipartUploadCommand',
])
const DELETING = new Set(['DeleteObjectCommand', 'DeleteObjectsCommand'])
const READ_WIDTH = 16

/** The keys that a command of the AWS SDK changes, as it names them; none where it only reads. */
export function keysChanged({ constructor: { name }, input = {} }: AwsCommand): readonly string[] {
  if (ONE_KEY.has(name)) return input.Key === undefined ? [] : [input.Key]
  if (name !== 'DeleteObjectsCommand') return []
  return [...new Set((input.Delete?.Objects ?? []).map(({ Key = '' }) => Key))]
}

/** Whether a command leaves nothing under its keys. */
export function isDeleting(command: AwsCommand): boolean {
  return DELETING.has(command.constructor.name)
}

/** Sends with what was given to the client. Where a function is among it, that is told the answer, and nothing is awaited. */
export function sendAs(
  args: Parameters<AwsClient['send']>,
  send: (given: Parameters<AwsClient['send']>) => Promise<object>,
): Promise<object> {
  const [command, ...rest] = args
  const callback = rest.find((one) => typeof one === 'function')
  if (callback === undefined) return send(args)
  const awaited = rest.filter((one) => one !== callback)
  return send([command, ...awaited]).then(
    (answer) => Reflect.apply(callback, undefined, [null, answer]),
    (error: unknown) => Reflect.apply(callback, undefined, [error]),
  )
}

/** The key that a copy is made of: `CopySource` is `bucket/key`, in URL encoding. */
export function copiedKey({ input }: AwsCommand): string | null {
  const source = input?.CopySource?.replace(/^\//, '')
  return source === undefined ? null : decodeURIComponent(source.slice(source.indexOf('/') + 1))
}

/**
 * A command that was sent past the methods of the storage client. It may do anything to its objects, so they are read
 * before and after it.
 */
export class CommandWrite implements Write<object> {
  readonly #items: readonly Item[]
  readonly #reader: Reader
  readonly #local: boolean
  readonly #send: () => Promise<object>
  #after: readonly (Image | null)[] = []

  constructor(items: readonly Item[], reader: Reader, local: boolean, send: () => Promise<object>) {
    this.#items = items
    this.#reader = reader
    this.#local = local
    this.#send = send
  }

  async read(): Promise<readonly (Image | null)[]> {
    return mapConcurrently(this.#items, READ_WIDTH, (item) => this.#reader.imageBefore(item))
  }

  async perform(): Promise<object> {
    const result = await this.#send().finally(() => {
      for (const item of this.#items) this.#reader.recent.written(keyOfItem(item))
    })
    this.#after = await this.read()
    return result
  }

  after(): readonly (Image | null)[] {
    return this.#after
  }

  refused(error: unknown): boolean {
    return this.#items.length === 1 && isRefusal(error, this.#local)
  }
}

/**
 * The commands by which a client on S3 does what it was asked to: they pass the place where commands of others are
 * captured, and must not be captured twice. While a captured write of a key is under way, a command of the same kind for it
 * is taken to be the client's.
 */
export class OwnCommands {
  readonly #prefix: string
  readonly #underWay = new Map<string, number>()

  constructor(keyPrefix: string) {
    this.#prefix = keyPrefix
  }

  /** Runs `work`, which sends commands of this name for these keys of the database. */
  async during<T>(name: string, keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const names = keys.map((key) => `${name} ${this.#full(key)}`)
    for (const one of names) this.#underWay.set(one, (this.#underWay.get(one) ?? 0) + 1)
    try {
      return await work()
    } finally {
      for (const one of names) {
        const count = (this.#underWay.get(one) ?? 1) - 1
        if (count === 0) this.#underWay.delete(one)
        else this.#underWay.set(one, count)
      }
    }
  }

  has(command: AwsCommand): boolean {
    const { name } = command.constructor
    return keysChanged(command).every((key) => this.#underWay.has(`${name} ${key}`))
  }

  /** As s3db.js makes it. */
  #full(key: string): string {
    return this.#prefix === '' ? key : posix.join(this.#prefix, key)
  }
}
