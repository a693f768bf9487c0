import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { MemoryClient, S3db } from 's3db.js/lite'

/** The bytes of one stored object, read past s3db.js. */
export interface StoredBytes {
  readonly body: Uint8Array
  /** As stored: encoded. */
  readonly metadata: Readonly<Record<string, string>>
  readonly contentType: string
}

/** A database for a test, and its storage as seen without its client. */
export interface TestDatabase {
  readonly db: S3db
  readonly connectionString: string
  stored(): Promise<Map<string, StoredBytes>>
}

export const PASSPHRASE = 'correct horse battery staple'
export const KINDS_OF_CLIENT = ['memory', 'file'] as const
export type ClientKind = (typeof KINDS_OF_CLIENT)[number]

let count = 0

export async function newDatabase(kind: ClientKind): Promise<TestDatabase> {
  count++
  const connectionString =
    kind === 'memory'
      ? `memory://bucket-${process.pid}-${count}/app`
      : `file://${await mkdtemp(join(tmpdir(), 'tidemark-s3db-'))}`
  return openDatabase(connectionString)
}

export async function openDatabase(connectionString: string): Promise<TestDatabase> {
  const db = new S3db({ connectionString, logLevel: 'silent', security: { passphrase: PASSPHRASE } })
  await db.connect()
  const memory = connectionString.startsWith('memory://')
  const stored = memory
    ? async () => memoryBytes(db, connectionString)
    : () => fileBytes(connectionString.slice('file://'.length))
  return { db, connectionString, stored }
}

/** Waits until what s3db.js does after its promises (partition references) is done. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 10))
}

function memoryBytes({ client }: S3db, connectionString: string): Map<string, StoredBytes> {
  if (!(client instanceof MemoryClient)) throw new Error('not a memory client')
  const prefix = `${new URL(connectionString).pathname.slice(1)}/`
  const found = new Map<string, StoredBytes>()
  for (const [key, { body, metadata, contentType }] of Object.entries(client.snapshot().objects)) {
    if (!key.startsWith(prefix)) continue
    found.set(key.slice(prefix.length), { body: Buffer.from(body, 'base64'), metadata, contentType })
  }
  return found
}

/** What a directory of a database of files holds, by path in it. */
export async function fileBytes(root: string): Promise<Map<string, StoredBytes>> {
  const found = new Map<string, StoredBytes>()
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    // Halves of writes of a process that was killed: s3db.js finds them under no key.
    if (!entry.isFile() || path.endsWith('.meta.json') || /\.tmp\.[^/]*$/.test(path)) continue
    try {
      const { metadata, contentType } = JSON.parse(await readFile(`${path}.meta.json`, 'utf8'))
      found.set(relative(root, path), { body: await readFile(path), metadata, contentType })
    } catch (error) {
      // A body without its metadata, as a kill leaves it, is nothing to s3db.js; nor is what went since it was listed.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return found
}

/** Stored objects of a database that a restore must bring back: all but partition references and locks. */
export function essential(stored: ReadonlyMap<string, StoredBytes>): Map<string, StoredBytes> {
  return new Map(
    [...stored]
      .filter(([key]) => !/^resource=[^/]*\/partition=|\/lock$/.test(key))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}
