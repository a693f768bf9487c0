import { TidemarkError } from '../base/errors.ts'
import type { Database, StorageClient } from './client.ts'
import type { Dialect } from './image.ts'

/** The storage client of a database, which exists from within `connect` on; refuses the clients whose writes can be rolled back. */
export function clientOf(db: Database): StorageClient {
  const { client } = db
  if (client === undefined || client === null) {
    throw new TidemarkError('SOURCE_NOT_CONNECTED', 'The database is not connected, so there is nothing to capture.', {
      hint: 'Call `await db.connect()` first.',
    })
  }
  if (typeof client.runInTransaction === 'function') {
    throw new TidemarkError(
      'SOURCE_UNSUPPORTED',
      'This storage client of s3db.js has transactions; a write that is rolled back later cannot be told from others.',
      { hint: 'Use a database on s3://, file:// or memory://.' },
    )
  }
  return client
}

/** Whether the client is in this process or on this machine: no retries, no headers, listings in one go. */
export function isLocal({ connectionString }: StorageClient): boolean {
  return /^(?:memory|file):\/\//.test(connectionString ?? '')
}

/** Whether the client stores files, two for each object: a kill between them leaves one. */
export function isOfFiles({ connectionString }: StorageClient): boolean {
  return connectionString?.startsWith('file://') === true
}

/** How the client stores what it is given. */
export function dialectOf(client: StorageClient): Dialect {
  const local = isLocal(client)
  // s3db.js forgets that the body was compressed when it copies a file.
  return { local, copiesExactly: local && client.storage?.enableCompression !== true }
}

/** Whether what the client stores is gone with the process. */
export function isVolatile({ connectionString, storage }: StorageClient): boolean {
  return connectionString?.startsWith('memory://') === true && storage?.persistPath === undefined
}

/** Which database a client is about, the same on every machine that reaches it; never with credentials. */
export function identityOf(client: StorageClient): string {
  const { bucket = '', keyPrefix = '', basePath, endpoint } = client.config ?? {}
  const path = keyPrefix === '' ? '' : `/${keyPrefix}`
  if (basePath !== undefined && isLocal(client)) return `file://${basePath}${path}`
  if (isLocal(client)) return `memory://${bucket}${path}`
  const host = endpoint === undefined || !URL.canParse(endpoint) ? '' : new URL(endpoint).host
  const aws = host === '' || /(^|\.)amazonaws\.com(\.cn)?$/.test(host)
  return `s3://${bucket}${path}${aws ? '' : `?endpoint=${host}`}`
}

/** Runs `work` on every value, `width` at a time, and gives the results in the order of the values. */
export async function mapConcurrently<T, R>(
  values: readonly T[],
  width: number,
  work: (value: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(values.length)
  let next = 0
  const lane = async (): Promise<void> => {
    for (let i = next++; i < values.length; i = next++) {
      const value = values[i]
      if (value !== undefined) results[i] = await work(value, i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, values.length) }, lane))
  return results
}
