import { TidemarkError } from '../base/errors.ts'
import type { Sink } from '../capture/source.ts'
import type { Image, Item } from '../model/event.ts'
import { dialectOf, isLocal, mapConcurrently } from './access.ts'
import type {
  AwsCommand,
  ClientBody,
  ClientWrites,
  CopyParams,
  DeleteReport,
  PutParams,
  StorageClient,
} from './client.ts'
import { currentContext } from './context.ts'
import type { Dialect } from './image.ts'
import { DATABASE, isText, itemOfKey, notText } from './keys.ts'
import { override } from './override.ts'
import type { Reader } from './reader.ts'
import { SchemaWrites } from './schema-write.ts'
import { CopyWrite, DeleteWrite, isCompleteReport, PutWrite } from './writes.ts'

/** Captured keys of one deletion that become one intent: their images before are in memory together. */
const DELETE_STEP = 200
/** Deletions at once where the store takes one key at a time. */
const DELETE_WIDTH = 32

/** Makes every write of `client` go through `sink`; returns what undoes it. */
export function intercept(client: StorageClient, reader: Reader, sink: Sink): () => void {
  const interception = new Interception(client, reader, sink)
  const { putObject, copyObject, deleteObject, deleteObjects, deleteAll, client: aws } = client
  const undo = [
    override(client, 'putObject', putObject, (original) => (params) => interception.put(params, original)),
    override(client, 'copyObject', copyObject, (original) => (params) => interception.copy(params, original)),
    override(client, 'deleteObject', deleteObject, (original) => (key) => interception.delete(key, original)),
    override(client, 'deleteObjects', deleteObjects, (original) => (keys) => interception.deleteSome(keys, original)),
    override(client, 'deleteAll', deleteAll, (original) => (params) => interception.deleteAll(params, original)),
  ]
  if (aws !== undefined && !isLocal(client)) {
    // `StreamInserter.fastInsert` of s3db.js passes the storage client by.
    undo.push(
      override(
        aws,
        'send',
        aws.send,
        (original) =>
          (...args) =>
            interception.send(args[0], () => original(...args)),
      ),
    )
  }
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
  /** The client's own deletions, for what is found by listing. */
  readonly #originals: Pick<ClientWrites, 'deleteObject' | 'deleteObjects'>

  constructor(client: StorageClient, reader: Reader, sink: Sink) {
    this.#client = client
    this.#reader = reader
    this.#sink = sink
    this.#dialect = dialectOf(client)
    this.#schemas = new SchemaWrites(reader, sink)
    const { deleteObject, deleteObjects } = client
    this.#originals = { deleteObject: deleteObject.bind(client), deleteObjects: deleteObjects.bind(client) }
  }

  put(params: PutParams, original: ClientWrites['putObject']): Promise<object> {
    if (!isText(params.key) && this.#isCaptured(params.key)) return refused(params.key)
    const item = this.#item(params.key)
    if (item === null) return original(params)
    const put = (): Promise<object> => original(params)
    if (item === DATABASE) return this.#schemas.capture(async () => textOf(params.body), put)
    return this.#sink.capture([item], currentContext(), new PutWrite(item, params, this.#reader, this.#dialect, put))
  }

  copy(params: CopyParams, original: ClientWrites['copyObject']): Promise<object> {
    if (!isText(params.to) && this.#isCaptured(params.to)) return refused(params.to)
    const target = this.#item(params.to)
    if (target === null) return original(params)
    const copy = (): Promise<object> => original(params)
    if (target === DATABASE) return this.#schemas.capture(() => this.#reader.text(params.from), copy)
    const origin = params.from === params.to ? null : this.#item(params.from)
    const items = origin === null || origin === DATABASE ? [target] : [target, origin]
    const write = new CopyWrite(items, params, this.#reader, this.#dialect, copy)
    return this.#sink.capture(items, currentContext(), write)
  }

  delete(key: string, original: ClientWrites['deleteObject']): Promise<object> {
    const item = this.#item(key)
    if (item === null) return original(key)
    const remove = (): Promise<object> => original(key)
    if (item === DATABASE) return this.#schemas.capture(async () => null, remove)
    return this.#sink.capture(
      [item],
      currentContext(),
      new DeleteWrite([item], this.#reader, this.#dialect, remove, () => true),
    )
  }

  async deleteSome(keys: readonly string[], original: ClientWrites['deleteObjects']): Promise<DeleteReport> {
    if (keys.every((key) => this.#item(key) === null)) return original(keys)
    const reports: DeleteReport[] = []
    await this.#inSteps(keys, isCompleteReport, async (step) => {
      const report = await original(step)
      reports.push(report)
      return report
    })
    return mergeReports(reports)
  }

  async deleteAll(params: { readonly prefix?: string } = {}, original: ClientWrites['deleteAll']): Promise<number> {
    const { prefix = '' } = params
    // The keys that are really there: a prefix of one resource may take those of another (`log` and `logs`).
    const keys = await this.#client.getAllKeys({ prefix })
    if (keys.every((key) => this.#item(key) === null)) return original(params)
    const local = isLocal(this.#client)
    const { deleteObject, deleteObjects } = this.#originals
    await this.#inSteps(keys, isCompleteReport, async (step) => {
      // On S3 `deleteObjects` of s3db.js asks for every key first whether it exists, one after another.
      if (local) return deleteObjects(step)
      await mapConcurrently(step, DELETE_WIDTH, deleteObject)
      return {}
    })
    const total = keys.length
    this.#client.emit?.(local ? 'deleteAll' : 'cl:DeleteAll', { prefix, batch: total, total })
    this.#client.emit?.(local ? 'deleteAllComplete' : 'cl:DeleteAllComplete', { prefix, totalDeleted: total })
    return total
  }

  /** A command that did not come from the storage client: only `fastInsert` puts an empty text. */
  send(command: AwsCommand, original: () => Promise<object>): Promise<object> {
    const { Key, Body } = command.input ?? {}
    if (Body !== '' || Key === undefined || command.constructor.name !== 'PutObjectCommand') return original()
    const { keyPrefix = '' } = this.#client.config ?? {}
    // It forgets the prefix too: then what it writes is outside of this database.
    if (keyPrefix !== '' && !Key.startsWith(`${keyPrefix}/`)) return original()
    const key = keyPrefix === '' ? Key : Key.slice(keyPrefix.length + 1)
    const item = this.#item(key)
    if (item === null || item === DATABASE) return original()
    let after: Image | null = null
    return this.#sink.capture([item], currentContext(), {
      read: async () => [await this.#reader.image(item)],
      perform: async () => {
        const result = await original()
        after = await this.#reader.image(item)
        return result
      },
      after: () => [after],
    })
  }

  /** Deletes in steps of bounded size; what is not captured goes first, in one step. */
  async #inSteps<T>(
    keys: readonly string[],
    isComplete: (result: T) => boolean,
    remove: (keys: readonly string[]) => Promise<T>,
  ): Promise<void> {
    const captured = new Map<string, Item>()
    const others: string[] = []
    for (const key of keys) {
      const item = this.#item(key)
      if (item === null) others.push(key)
      else captured.set(key, item)
    }
    if (others.length > 0) await remove(others)
    const schema = [...captured].find(([, item]) => item === DATABASE)?.[0]
    if (schema !== undefined) {
      captured.delete(schema)
      await this.#schemas.capture(
        async () => null,
        () => remove([schema]),
      )
    }
    const entries = [...captured]
    for (let i = 0; i < entries.length; i += DELETE_STEP) {
      const step = entries.slice(i, i + DELETE_STEP)
      const items = step.map(([, item]) => item)
      const removeStep = (): Promise<T> => remove(step.map(([key]) => key))
      await this.#sink.capture(
        items,
        currentContext(),
        new DeleteWrite(items, this.#reader, this.#dialect, removeStep, isComplete),
      )
    }
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

function textOf(body: ClientBody | undefined): string {
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
