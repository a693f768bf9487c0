import { S3db } from 's3db.js/lite'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { clientOf } from './access.ts'
import type { ClientWrites, PutParams, StorageClient, StoredResponse } from './client.ts'
import { SCHEMA_KEY } from './keys.ts'
import { override } from './override.ts'

/**
 * A connected database that nothing was written to. s3db.js writes when it connects: an `s3db.json` where there is none, a
 * repaired one where it is damaged. Whoever only looks at a database leaves it as it is, so that is held back until somebody writes.
 */
export interface LookedAt {
  readonly db: S3db
  /** Whether there was neither an `s3db.json` nor anything of a resource. */
  readonly isEmpty: boolean
  /** Lets writes pass from now on, first of all those of s3db.js that were held back. */
  write(): Promise<void>
}

/** Connects to the database of a connection string without writing to it. Errors: `TARGET_INVALID`. */
export async function lookAt(connectionString: string): Promise<LookedAt> {
  if (/^file:\/*$/i.test(connectionString)) throw namesNothing(connectionString)
  const db = new S3db({ connectionString, logLevel: 'silent' })
  try {
    await db.ensureClientInitialized()
    const client = clientOf(db)
    const hasSchemas = await has(client, SCHEMA_KEY)
    // Of a directory that is not there s3db.js lists the one above, where no key has this prefix.
    const isEmpty = !hasSchemas && !(await has(client, 'resource='))
    const held = holdBack(client, hasSchemas)
    await db.connect()
    return { db, isEmpty, write: () => held.release() }
  } catch (error) {
    throw new TidemarkError('TARGET_INVALID', `The database cannot be opened: ${reasonOf(error)}`, {
      hint: 'Check the connection string and its credentials; nothing was written.',
      cause: error,
    })
  }
}

/** s3db.js would take a directory of its own choice. */
function namesNothing(connectionString: string): TidemarkError {
  return new TidemarkError('TARGET_INVALID', `"${connectionString}" names no directory. Nothing was read or written.`, {
    hint: 'Give the path of the database: file:///var/lib/app.',
  })
}

/** What is at the bottom of an error of s3db.js, which says of some only that they are unknown to it. */
function reasonOf(error: unknown): string {
  for (let inner = error, depth = 0; ; depth++) {
    const next: unknown = inner instanceof Error ? (Reflect.get(inner, 'original') ?? inner.cause) : undefined
    if (!(next instanceof Error) || depth > 5) return messageOf(inner) || messageOf(error)
    inner = next
  }
}

const ANSWERS: { readonly [K in keyof ClientWrites]: Awaited<ReturnType<ClientWrites[K]>> } = {
  putObject: {},
  copyObject: {},
  deleteObject: {},
  deleteObjects: {},
  deleteAll: 0,
}

async function has(client: StorageClient, prefix: string): Promise<boolean> {
  return ((await client.listObjects({ prefix, maxKeys: 1 })).Contents ?? []).length > 0
}

/** Answers writes as done, and does none; what was put is put by `release`. */
function holdBack(client: StorageClient, hadSchemas: boolean): { release(): Promise<void> } {
  const puts = new Map<string, PutParams>()
  const passing = Object.entries(ANSWERS).map(([name, answer]) =>
    override(client, name, Reflect.get(client, name), () => async (params: PutParams) => {
      if (name === 'putObject') puts.set(params.key, params)
      return answer
    }),
  )
  // One that is damaged is read as s3db.js has repaired it.
  if (hadSchemas) {
    passing.push(
      override(client, 'getObject', client.getObject, (read) => async (key: string) => {
        const held = puts.get(key)
        return held === undefined ? read(key) : answered(held)
      }),
    )
  }
  return {
    release: async () => {
      for (const pass of passing.splice(0)) pass()
      // What another process has made there meanwhile is not to be replaced by an empty one.
      if (!hadSchemas && puts.has(SCHEMA_KEY) && (await has(client, SCHEMA_KEY))) puts.delete(SCHEMA_KEY)
      for (const params of puts.values()) await client.putObject(params)
      puts.clear()
    },
  }
}

/** What was put, as it would be read. */
function answered({ body, contentType }: PutParams): StoredResponse {
  const bytes = Buffer.from(typeof body === 'string' || Buffer.isBuffer(body) ? body : '')
  return {
    Metadata: {},
    Body: { transformToByteArray: async () => bytes },
    ContentLength: bytes.length,
    ContentType: contentType,
  }
}
