import { randomUUID } from 'node:crypto'
import type { S3Client as AwsS3Client } from '@aws-sdk/client-s3'
import { S3Client, S3db } from 's3db.js'
import type { S3ForTests } from './s3.ts'

/** An s3db.js database on the S3 server of the tests. */
export interface S3dbOnS3 {
  /** A new instance on the same data, not connected yet: a test of a restart opens two. */
  open(): S3db
  readonly bucket: string
  /** Where the database's keys begin in the bucket. */
  readonly prefix: string
}

/** A place for a database in the bucket of the tests, empty. */
export async function s3dbOnS3(
  server: Pick<S3ForTests, 'endpoint' | 'credentials' | 'client' | 'bucket'>,
): Promise<S3dbOnS3> {
  const bucket = await server.bucket('tidemark-tests')
  const prefix = `s3db-${randomUUID()}`
  const open = (): S3db => {
    const { accessKeyId, secretAccessKey } = server.credentials
    const { host } = new URL(server.endpoint)
    const client: object = new S3Client({
      connectionString: `http://${accessKeyId}:${secretAccessKey}@${host}/${bucket}/${prefix}?forcePathStyle=true`,
      AwsS3Client: keepNames(server.client()),
      // s3db.js's own HTTP handler is the package recker, which only a stub stands in for here.
      httpClientOptions: { useReckerHandler: false },
    })
    if (!isClient(client)) throw new Error('s3db.js has changed its client')
    return new S3db({ client, logLevel: 'silent' })
  }
  return { open, bucket, prefix }
}

/** A connected database in a place of its own. */
export async function connectedOnS3(server: S3ForTests | null): Promise<S3db> {
  if (server === null) throw new Error('no S3 server')
  const db = (await s3dbOnS3(server)).open()
  await db.connect()
  return db
}

type Client = NonNullable<NonNullable<ConstructorParameters<typeof S3db>[0]>['client']>

/** The declared types of s3db.js's client and of its option `client` do not fit under exactOptionalPropertyTypes. */
function isClient(value: object): value is Client {
  return 'putObject' in value && 'getObject' in value
}

/**
 * Ceph's gateway makes '-' of every '_' in a metadata name (AWS does not), and s3db.js keeps `_v` and others there: it
 * would read `-v`, and its next write, with both, has no valid signature. So such names are escaped on the wire.
 */
function keepNames(client: AwsS3Client): AwsS3Client {
  client.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next({ ...args, input: renamed(args.input, escapeName) })
      return { ...answer, output: renamed(answer.output, unescapeName) }
    },
    { step: 'initialize', name: 'keepMetadataNames' },
  )
  return client
}

function renamed<T extends object>(value: T, rename: (name: string) => string): T {
  if (!('Metadata' in value) || typeof value.Metadata !== 'object' || value.Metadata === null) return value
  const names = Object.entries(value.Metadata).map(([name, text]) => [rename(name), text])
  return { ...value, Metadata: Object.fromEntries(names) }
}

function escapeName(name: string): string {
  return name.replaceAll('.', '.d').replaceAll('_', '.u')
}

function unescapeName(name: string): string {
  return name.replaceAll('.u', '_').replaceAll('.d', '.')
}
