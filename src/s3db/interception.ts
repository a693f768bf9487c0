import { TidemarkError } from '../base/errors.ts'
import type { Sink } from '../capture/source.ts'
import { currentContext } from '../engine/context.ts'
import type { Item } from '../model/event.ts'
import { dialectOf, isLocal, mapConcurrently } from './access.ts'
import type {
  AwsCommand,
  ClientWrites,
  CopyParams,
  DeleteReport,
  PutParams,
  StorageClient,
  StoredResponse,
} from './client.ts'
import { CommandWrite, copiedKey, isDeleting, keysChanged, OwnCommands, sendAs } from './commands.ts'
import { DeleteWrite, isCompleteReport, Removed } from './delete-write.ts'
import { type DeletionSeams, deleteInSteps } from './deletion.ts'
import type { Dialect } from './image.ts'
import { DATABASE, isText, itemOfKey, notText } from './keys.ts'
import { puttingAs, watchedSink } from './live-writes.ts'
import { override } from './override.ts'
import type { Reader } from './reader.ts'
import { SchemaWrites } from './schema-write.ts'
import { refuseWholesale } from './wholesale.ts'
import { CopyWrite, PutWrite } from './writes.ts'

/** Deletions at once where the store takes one key at a time. */
const DELETE_WIDTH = 32

/** Makes every write of `client` go through `sink`; returns what undoes it. */
export function intercept(client: StorageClient, reader: Reader, sink: Sink): () => void {
  const interception = new Interception(client, reader, watchedSink(client, sink))
  const { putObject, copyObject, deleteObject, deleteObjects, deleteAll, getObject, sendCommand, client: aws } = client
  const undo = [
    override(
      client,
      'putObject',
      putObject,
      (original) => (params) => puttingAs(params, () => interception.put(params, original)),
    ),
    override(client, 'copyObject', copyObject, (original) => (params) => interception.copy(params, original)),
    override(client, 'deleteObject', deleteObject, (original) => (key) => interception.delete(key, original)),
    override(client, 'deleteObjects', deleteObjects, (original) => (keys) => interception.deleteSome(keys, original)),
    override(client, 'deleteAll', deleteAll, (original) => (params) => interception.deleteAll(params, original)),
    override(client, 'getObject', getObject, (original) => (key) => interception.get(key, original)),
  ]
  if (aws !== undefined && !isLocal(client)) {
    const { keyPrefix = '' } = client.config ?? {}
    const prefix = keyPrefix === '' ? '' : `${keyPrefix}/`
    // What a client on S3 is asked to send passes here, too.
    undo.push(
      override(
        aws,
        'send',
        aws.send,
        (original) =>
          (...args) =>
            sendAs(args, (given) => interception.send(args[0], prefix, () => original(...given))),
      ),
    )
  } else if (sendCommand !== undefined) {
    undo.push(
      override(
        client,
        'sendCommand',
        sendCommand,
        (original) => (command) => interception.send(command, '', () => original(command)),
      ),
    )
  }
  undo.push(...refuseWholesale(client))
  return () => {
    for (const restore of undo) restore()
  }
}

class Interception {
  readonly #client: StorageClient
  readonly #reader: Reader
  readonly #sink: Sink
  readonly #dialect: Dialect
  readonly #schemas: SchemaWrites
  readonly #own: OwnCommands
  /** The client's own deletions, for what is found by listing. */
  readonly #originals: Pick<ClientWrites, 'deleteObject' | 'deleteObjects'>

  constructor(client: StorageClient, reader: Reader, sink: Sink) {
    this.#client = client
    this.#reader = reader
    this.#sink = sink
    this.#dialect = dialectOf(client)
    this.#schemas = new SchemaWrites(reader, sink)
    this.#own = new OwnCommands(client.config?.keyPrefix ?? '')
    const { deleteObject, deleteObjects } = client
    this.#originals = { deleteObject: deleteObject.bind(client), deleteObjects: deleteObjects.bind(client) }
  }

  /** A read, not of the capture itself: what it gives is the state before a write that comes soon. */
  get(key: string, original: StorageClient['getObject']): Promise<StoredResponse> {
    const item = this.#reader.isReading ? null : this.#item(key)
    return item === null || item === DATABASE ? original(key) : this.#reader.recent.watch(key, () => original(key))
  }

  put(params: PutParams, original: ClientWrites['putObject']): Promise<object> {
    if (!isText(params.key) && this.#isCaptured(params.key)) return refused(params.key)
    const item = this.#item(params.key)
    if (item === null) return original(params)
    const put = (): Promise<object> => this.#asOwn('PutObjectCommand', [params.key], () => original(params))
    if (item === DATABASE) return this.#schemas.capture(async () => textOf(params.body), put)
    return this.#sink.capture([item], currentContext(), new PutWrite(item, params, this.#reader, this.#dialect, put))
  }

  copy(params: CopyParams, original: ClientWrites['copyObject']): Promise<object> {
    if (!isText(params.to) && this.#isCaptured(params.to)) return refused(params.to)
    const target = this.#item(params.to)
    if (target === null) return original(params)
    const copy = (): Promise<object> => this.#asOwn('CopyObjectCommand', [params.to], () => original(params))
    if (target === DATABASE) return this.#schemas.capture(() => this.#reader.text(params.from), copy)
    const origin = params.from === params.to ? null : this.#item(params.from)
    const items = origin === null || origin === DATABASE ? [target] : [target, origin]
    const write = new CopyWrite(items, params, this.#reader, this.#dialect, copy)
    return this.#sink.capture(items, currentContext(), write)
  }

  delete(key: string, original: ClientWrites['deleteObject']): Promise<object> {
    const item = this.#item(key)
    if (item === null) return original(key)
    const remove = (): Promise<object> => this.#asOwn('DeleteObjectCommand', [key], () => original(key))
    if (item === DATABASE) return this.#schemas.capture(async () => null, remove)
    const gone = new Removed(this.#client)
    const parts = {
      remove: () => gone.by(remove, [key]),
      isComplete: () => gone.areAll,
      mostBytes: Number.POSITIVE_INFINITY,
    }
    return this.#sink.capture([item], currentContext(), new DeleteWrite([item], this.#reader, this.#dialect, parts))
  }

  async deleteSome(keys: readonly string[], original: ClientWrites['deleteObjects']): Promise<DeleteReport> {
    if (keys.every((key) => this.#item(key) === null)) return original(keys)
    const reports: DeleteReport[] = []
    const remove = async (step: readonly string[]): Promise<DeleteReport> => {
      const report = await this.#asOwn('DeleteObjectsCommand', step, () => original(step))
      reports.push(report)
      return report
    }
    await this.#deleteInSteps(keys, remove)
    return mergeReports(reports)
  }

  async deleteAll(params: { readonly prefix?: string } = {}, original: ClientWrites['deleteAll']): Promise<number> {
    const { prefix = '' } = params
    // The keys that are really there: a prefix of one resource may take those of another (`log` and `logs`).
    const keys = await this.#client.getAllKeys({ prefix })
    if (keys.every((key) => this.#item(key) === null)) return original(params)
    const local = isLocal(this.#client)
    const { deleteObject, deleteObjects } = this.#originals
    const remove = async (step: readonly string[]): Promise<DeleteReport> => {
      // On S3 `deleteObjects` of s3db.js asks for every key first whether it exists, one after another.
      if (local) return deleteObjects(step)
      await this.#asOwn('DeleteObjectCommand', step, () => mapConcurrently(step, DELETE_WIDTH, deleteObject))
      return {}
    }
    await this.#deleteInSteps(keys, remove)
    const total = keys.length
    this.#client.emit?.(local ? 'deleteAll' : 'cl:DeleteAll', { prefix, batch: total, total })
    this.#client.emit?.(local ? 'deleteAllComplete' : 'cl:DeleteAllComplete', { prefix, totalDeleted: total })
    return total
  }

  /**
   * A command that did not come from a method of the storage client: `StreamInserter.fastInsert` of s3db.js sends some,
   * and any program can. `keyPrefix`: in front of the keys that commands name here.
   */
  async send(command: AwsCommand, keyPrefix: string, original: () => Promise<object>): Promise<object> {
    const { config = {} } = this.#client
    const named = keysChanged(command)
    if (named.length === 0 || this.#own.has(command)) return original()
    const { Bucket = config.bucket } = command.input ?? {}
    if (!this.#dialect.local && Bucket !== config.bucket) return original()
    // What `fastInsert` writes where there is a prefix is outside of this database: it forgets the prefix.
    const keys = named.filter((key) => key.startsWith(keyPrefix)).map((key) => key.slice(keyPrefix.length))
    const broken = keys.find((key) => !isText(key) && this.#isCaptured(key))
    if (broken !== undefined && !isDeleting(command)) return refused(broken)
    const items = keys.map((key) => this.#item(key)).filter((item) => item !== null)
    const others = items.filter((item) => item !== DATABASE)
    const send = (): Promise<object> =>
      others.length === 0
        ? original()
        : this.#sink.capture(
            others,
            currentContext(),
            new CommandWrite(others, this.#reader, this.#dialect.local, original),
          )
    if (others.length === items.length) return send()
    return this.#schemas.capture(() => this.#schemaAfter(command, keyPrefix), send)
  }

  #deleteInSteps(keys: readonly string[], remove: (step: readonly string[]) => Promise<DeleteReport>): Promise<void> {
    const gone = new Removed(this.#client)
    return deleteInSteps(this.#deletion, keys, {
      remove: (step) => gone.by(() => remove(step), step),
      isComplete: (report) => gone.areAll && isCompleteReport(report),
    })
  }

  async #schemaAfter(command: AwsCommand, keyPrefix: string): Promise<string | null> {
    if (isDeleting(command)) return null
    const copied = copiedKey(command)
    if (copied?.startsWith(keyPrefix) === true) return this.#reader.text(copied.slice(keyPrefix.length))
    return textOf(command.input?.Body)
  }

  /** Does what a captured write is, which on S3 sends commands of this name. */
  #asOwn<T>(name: string, keys: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#dialect.local ? work() : this.#own.during(name, keys, work)
  }

  get #deletion(): DeletionSeams {
    const itemOf = (key: string): Item | null => this.#item(key)
    return { reader: this.#reader, sink: this.#sink, dialect: this.#dialect, schemas: this.#schemas, itemOf }
  }

  /** The item of a key; none where no history can hold it, so that it may at least be deleted. */
  #item(key: string): Item | null {
    return isText(key) ? itemOfKey(key, this.#reader.space) : null
  }

  #isCaptured(key: string): boolean {
    return itemOfKey(key, this.#reader.space) !== null
  }
}

function refused(key: string): Promise<never> {
  return Promise.reject(notText(key, 'The write was refused and nothing was changed.'))
}

function textOf(body: unknown): string {
  if (typeof body === 'string') return body
  if (body instanceof Uint8Array) return Buffer.from(body).toString('utf8')
  throw new TidemarkError(
    'SOURCE_UNSUPPORTED',
    's3db.json is written from a stream, so its schemas cannot be captured.',
    {
      hint: 'Write s3db.json as text, as s3db.js does.',
    },
  )
}

function mergeReports(reports: readonly DeleteReport[]): DeleteReport {
  const [first] = reports
  if (reports.length === 1 && first !== undefined) return first
  const merged: Record<string, object[]> = {}
  for (const report of reports) {
    for (const [name, values] of Object.entries(report)) {
      if (Array.isArray(values)) merged[name] = [...(merged[name] ?? []), ...values]
    }
  }
  return merged
}
