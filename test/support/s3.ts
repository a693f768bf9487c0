import { randomUUID } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { inject } from 'vitest'
import { S3Store } from '../../src/store/s3.ts'
import type { S3Options } from '../../src/store/s3-client.ts'
import { clientOf, makeBucket } from './s3-bucket.ts'

/** A new place in the test server. */
export interface FreshS3 {
  readonly options: S3Options
  /** Removes what is in the place; fails where parts of an unfinished upload are left there. */
  dispose(): Promise<void>
}

/** The S3 server of this test run. */
export interface S3ForTests {
  readonly endpoint: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Of a user that owns nothing and may do what policies allow it. */
  readonly limited: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** A client of the SDK itself, for looking behind the store's back. */
  client(): S3Client
  /** A bucket's name, made where it does not exist. */
  bucket(name: string): Promise<string>
  /** An empty prefix of its own in a bucket of all tests. */
  fresh(): Promise<FreshS3>
}

/** The server that the global set-up has started, or null where there is none: skip the test then. */
export function s3ForTests(): S3ForTests | null {
  const server = inject('s3Server')
  if (server === null) return null
  const { endpoint, accessKeyId, secretAccessKey, limited } = server
  const credentials = { accessKeyId, secretAccessKey }
  const client = (): S3Client => clientOf(server)
  const bucket = (name: string): Promise<string> => makeBucket(server, name)
  const fresh = async (): Promise<FreshS3> => {
    const prefix = `tests/${randomUUID()}`
    const options = { bucket: await bucket('tidemark-tests'), prefix, endpoint, credentials }
    return { options, dispose: () => clear(client(), options) }
  }
  return { endpoint, credentials, limited, client, bucket, fresh }
}

async function clear(client: S3Client, options: S3Options & { prefix: string }): Promise<void> {
  const store = new S3Store(options)
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  await store.delete(keys)
  const { bucket: Bucket, prefix: Prefix } = options
  const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix }))
  for (const { Key, UploadId } of Uploads ?? []) {
    const { Parts } = await client.send(new ListPartsCommand({ Bucket, Key, UploadId }))
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    if (Parts !== undefined && Parts.length > 0) throw new Error(`parts of '${Key}' were left behind`)
  }
}
