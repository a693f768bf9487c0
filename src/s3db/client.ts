/*
 * The part of s3db.js that Tidemark uses, as its own types: those of the package name hundreds of members, and a
 * newer version may move them. Checked against s3db.js 21.6.2 (`clients/*-client.class.js`, `database.class.js`).
 */
import type { Readable } from 'node:stream'

/** A body as s3db.js hands it to its client. What is in a stream is only known by reading it back. */
export type ClientBody = string | Buffer | Readable

/** An object to be stored. */
export interface PutParams {
  readonly key: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly body?: ClientBody
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly ifMatch?: string
  readonly ifNoneMatch?: string
}

/** A copy within the database; `REPLACE` takes the metadata given here. */
export interface CopyParams {
  readonly from: string
  readonly to: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly metadataDirective?: 'COPY' | 'REPLACE'
  readonly contentType?: string
}

/** A stored object as the client answers it. */
export interface StoredResponse {
  readonly Metadata?: Readonly<Record<string, string | null | undefined>> | undefined
  readonly Body?: { readonly transformToByteArray?: () => Promise<Uint8Array> } | undefined
  readonly ContentLength?: number | undefined
  readonly ContentType?: string | undefined
  readonly ContentEncoding?: string | undefined
}

/** One page of a listing. */
export interface ListPage {
  readonly Contents?: readonly { readonly Key: string }[]
  readonly IsTruncated?: boolean
  readonly NextContinuationToken?: string | null | undefined
}

/** What the deletion of several keys answers: memory and file say `Deleted` and `Errors`, S3 `deleted` and `notFound`. */
export interface DeleteReport {
  readonly Deleted?: readonly object[]
  readonly Errors?: readonly object[]
  readonly deleted?: readonly { readonly Errors?: readonly object[] }[]
  readonly notFound?: readonly object[]
}

/** The writes of a storage client; all that s3db.js ever stores goes through these five. */
export interface ClientWrites {
  putObject(params: PutParams): Promise<object>
  copyObject(params: CopyParams): Promise<object>
  deleteObject(key: string): Promise<object>
  deleteObjects(keys: readonly string[]): Promise<DeleteReport>
  deleteAll(params?: { readonly prefix?: string }): Promise<number>
}

/** The AWS SDK client inside an S3 storage client. */
export interface AwsClient {
  send(command: AwsCommand, ...rest: readonly unknown[]): Promise<object>
}

/** A command of the AWS SDK, as far as it matters here. */
export interface AwsCommand {
  readonly input?: {
    readonly Bucket?: string | undefined
    readonly Key?: string | undefined
    readonly Body?: unknown
    readonly CopySource?: string | undefined
    readonly Delete?: { readonly Objects?: readonly { readonly Key?: string | undefined }[] | undefined } | undefined
  }
}

/** The storage client of a database: the writes, and what reading takes. */
export interface StorageClient extends ClientWrites {
  readonly connectionString?: string
  readonly config?: ClientConfig
  readonly client?: AwsClient
  /** Sends a command of the AWS SDK; the clients of memory and files do themselves what it asks for. */
  sendCommand?(command: AwsCommand): Promise<object>
  getObject(key: string): Promise<StoredResponse>
  listObjects(params: {
    readonly prefix: string
    readonly maxKeys?: number
    readonly continuationToken?: string | null
  }): Promise<ListPage>
  getAllKeys(params: { readonly prefix: string }): Promise<readonly string[]>
  exists?(key: string): Promise<boolean>
  emit?(event: string, ...values: readonly unknown[]): unknown
  on?(event: string, listener: AnswerListener): unknown
  off?(event: string, listener: AnswerListener): unknown
  /** Memory and files: empties the storage, past every method that writes objects. */
  clear?(): Promise<void>
  /** Memory: puts a whole content in the place of the other, past every method that writes objects. */
  restore?(content: unknown): void
  /** Clients over SQL databases have it; what they write can be rolled back. */
  readonly runInTransaction?: unknown
  readonly storage?: { readonly enableCompression?: boolean; readonly persistPath?: string | undefined }
}

/** Is told of a command that was answered: its name, the answer, and what it was about. */
type AnswerListener = (command: string, answer: unknown, input: NonNullable<AwsCommand['input']>) => void

/** Where a client stores. */
export interface ClientConfig {
  readonly bucket?: string
  readonly keyPrefix?: string
  readonly basePath?: string
  readonly endpoint?: string
}

/** Something that turns stored keys and values into attributes. */
export interface AttributeSchema {
  readonly map: Readonly<Record<string, string>>
  readonly pluginMap?: Readonly<Record<string, string>>
  readonly options: { readonly hooks?: { readonly afterUnmap: Readonly<Record<string, readonly SchemaAction[]>> } }
  getSchemaRegistry?(): SchemaRegistry | undefined
  unmapper(
    mapped: Readonly<Record<string, unknown>>,
    map?: Readonly<Record<string, string>>,
    pluginMap?: Readonly<Record<string, string>>,
  ): Promise<Record<string, unknown>>
}

/** What a schema does to a value when it reads it, by name. */
export type SchemaAction = string | { readonly action: string; readonly params?: object }

/** Which index each attribute has, and which indexes belonged to attributes that are gone; an index is never reused. */
export interface SchemaRegistry {
  readonly mapping: Readonly<Record<string, number>>
  readonly burned: readonly { readonly index: number; readonly attribute: string }[]
}

/** As `SchemaRegistry`, for the attributes of one plugin. */
export interface PluginRegistry {
  readonly mapping: Readonly<Record<string, string>>
  readonly burned: readonly { readonly key: string; readonly attribute: string }[]
}

/** Attributes by name, as they were declared. */
export type Attributes = Readonly<Record<string, unknown>>

/** A resource of a connected database. */
export interface LiveResource {
  readonly name: string
  /** `v1` or `1`, as stored in `_v`. */
  readonly version: string | number
  readonly behavior: string
  readonly attributes: Attributes
  readonly schema?: AttributeSchema
  readonly config: { readonly partitions?: Readonly<Record<string, PartitionDefinition>> }
  getPartitionKey(about: {
    readonly partitionName: string
    readonly id: string
    readonly data: Readonly<Record<string, unknown>>
  }): string | null
}

/** The attributes that a partition is made of, and their rules. */
export interface PartitionDefinition {
  readonly fields?: Readonly<Record<string, string>>
}

/** One version of a resource in `s3db.json`. */
export interface VersionEntry {
  readonly hash?: string
  readonly attributes: Attributes
  readonly behavior?: string
  readonly timestamps?: boolean
  readonly partitions?: Readonly<Record<string, PartitionDefinition>>
  readonly paranoid?: boolean
  readonly allNestedObjectsOptional?: boolean
  readonly autoDecrypt?: boolean
  readonly asyncEvents?: boolean
  readonly idSize?: number
  readonly idGenerator?: unknown
  readonly map?: Readonly<Record<string, string>>
}

/** One resource in `s3db.json`. */
export interface ResourceEntry {
  readonly currentVersion?: string
  readonly partitions?: Readonly<Record<string, PartitionDefinition>>
  readonly versions?: Readonly<Record<string, VersionEntry>>
  readonly schemaRegistry?: SchemaRegistry
  readonly pluginSchemaRegistry?: Readonly<Record<string, PluginRegistry>>
}

/** The content of `s3db.json`. */
export interface DatabaseMetadata {
  readonly version?: string
  readonly s3dbVersion?: string
  readonly lastUpdated?: string
  readonly resources?: Readonly<Record<string, ResourceEntry>>
}

/** A connected s3db.js database. */
export interface Database {
  readonly client: StorageClient
  /** A view of the resources; names are its keys. */
  readonly resources: Readonly<Record<string, LiveResource>>
  readonly savedMetadata: DatabaseMetadata | null
}
