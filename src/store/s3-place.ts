import type { S3Client } from '@aws-sdk/client-s3'

/** Requests about single objects that are made at once. */
const AT_ONCE = 8

/** Which bucket, and what the keys of the store begin with in it. */
export interface S3Place {
  readonly client: S3Client
  readonly bucket: string
  /** With a closing slash; empty: the whole bucket. */
  readonly prefix: string
}

/** Does `act` with each key, a few at once. */
export async function eachOf(keys: readonly string[], act: (key: string) => Promise<void>): Promise<void> {
  for (let at = 0; at < keys.length; at += AT_ONCE) await Promise.all(keys.slice(at, at + AT_ONCE).map(act))
}
