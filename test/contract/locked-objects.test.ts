import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { namedFiles } from '../../src/engine/named-files.ts'
import { provenStore } from '../../src/engine/proven-store.ts'
import { standingStore } from '../../src/engine/standing-store.ts'
import { STORE_FILE } from '../../src/format/keys.ts'
import { EncryptedStore } from '../../src/store/encryption/encrypted-store.ts'
import { SecretKey } from '../../src/store/encryption/store-key.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { type Keeping, keepingOf } from '../../src/store/keeping.ts'
import { RequestMeter } from '../../src/store/meter.ts'
import { nodeFiles } from '../../src/store/node-files.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open.ts'
import { withRetry } from '../../src/store/retry.ts'
import { S3Store } from '../../src/store/s3.ts'
import { type LockableStore, lockedObjectsContract } from '../../src/testing.ts'
import { contract } from '../support/contract.ts'
import { LockedStore } from '../support/locked-store.ts'
import { s3ForTests } from '../support/s3.ts'

const storeKey = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', key: SecretKey.random() }

type Wrap = (inner: ObjectStore) => ObjectStore | Promise<ObjectStore>

const WRAPPERS: Readonly<Record<string, Wrap>> = {
  nothing: (inner) => inner,
  retry: (inner) => withRetry(inner),
  encryption: (inner) => new EncryptedStore(inner, storeKey, () => false),
  'one of somebody else': (objects) => openStore({ url: 'own://store', objects }),
  meter: (inner) => new RequestMeter(systemClock).over(inner),
  'named files': (inner) => namedFiles(inner, async () => false),
  'proven store': (inner) => provenStore(inner, async () => {}),
  'standing store': (inner) => standingStore(hiding(inner), 'there', 'x'),
}

/** With a store file that no listing shows. */
function hiding(inner: ObjectStore): ObjectStore {
  return Object.assign(Object.create(inner) as ObjectStore, {
    put: inner.put.bind(inner),
    get: inner.get.bind(inner),
    head: async (key: string) => (key === STORE_FILE ? { key, bytes: 0 } : inner.head(key)),
    list: inner.list.bind(inner),
    delete: inner.delete.bind(inner),
    keeping: inner.keeping?.bind(inner),
  })
}

for (const [name, wrap] of Object.entries(WRAPPERS)) {
  contract(
    `Locked objects: ${name} over memory`,
    lockedObjectsContract(async () => lockable(wrap)),
  )

  test(`what is kept of deleted objects: ${name} passes it on`, async () => {
    const inner = new LockedStore()
    const keeps: Keeping = { versions: 'kept', expireDays: 9, lockedUntil: '2031-01-01T00:00:00.000Z', todo: 'x' }
    expect(await keepingOf(await wrap(inner), ['k'])).toEqual({ versions: 'none' })
    inner.keeps = keeps
    expect(await keepingOf(await wrap(inner), ['k'])).toEqual(keeps)
  })
}

async function lockable(wrap: Wrap): Promise<LockableStore> {
  const inner = new LockedStore()
  const lock = async (keys: readonly string[]): Promise<void> => {
    for (const key of keys) inner.locks.set(key, key.endsWith('2') ? '2031-01-01T00:00:00.000Z' : null)
  }
  return { store: await wrap(inner), lock, dispose: async () => {} }
}

contract(
  'Locked objects: file system',
  lockedObjectsContract(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-locked-'))
    const locked = new Set<string>()
    const remove = async (path: string): Promise<void> => {
      if (locked.has(path)) throw Object.assign(new Error('EPERM'), { code: 'EPERM' })
      return nodeFiles.remove(path)
    }
    const lock = async (keys: readonly string[]): Promise<void> => {
      for (const key of keys) locked.add(join(directory, key))
    }
    const store = new FilesystemStore(directory, systemClock, { ...nodeFiles, remove })
    return { store, lock, dispose: () => rm(directory, { recursive: true }) }
  }),
)

const s3 = s3ForTests()
describe.skipIf(s3 === null)('over the network', () => {
  if (s3 === null) return
  for (const wrap of ['nothing', 'encryption'])
    contract(
      `Locked objects: ${wrap} over S3`,
      lockedObjectsContract(async () => {
        // A policy is of a whole bucket.
        const { endpoint, credentials } = s3
        const bucket = await s3.bucket(`locked-${randomUUID()}`)
        const lock = async (keys: readonly string[]): Promise<void> => {
          const Resource = keys.map((key) => `arn:aws:s3:::${bucket}/app/${key}`)
          const deny = { Sid: 'Lock', Effect: 'Deny', Principal: { AWS: ['*'] }, Action: ['s3:DeleteObject'], Resource }
          const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [deny] })
          await s3.client().send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }))
        }
        const store = new S3Store({ bucket, prefix: 'app', endpoint, credentials })
        return { store: (await WRAPPERS[wrap]?.(store)) ?? store, lock, dispose: async () => {} }
      }),
    )
})
