import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeleteObjectCommand, GetBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, describe, expect, it } from 'vitest'
import { hasCode } from '../../src/base/errors.ts'
import { type StoreSpec, Tidemark } from '../../src/index.ts'
import { S3Store } from '../../src/store/s3.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { s3ForTests } from '../support/s3.ts'
import { clientOf } from '../support/s3-bucket.ts'
import { allow, type Policy, policyOf, type Role, without } from '../support/s3-policy.ts'

const server = s3ForTests()
const directory = mkdtempSync(join(tmpdir(), 'least-privilege-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const BUCKET = 'tidemark-policies'
const USER = { kind: 'record', resource: 'users', id: 'u1' } as const

/** A place in the bucket, and who asks. */
interface Place {
  readonly spec: StoreSpec
  readonly prefix: string
  readonly database: ModelDatabase
}

/** A process that captures, in both ways to acknowledge, the second after the first has ended. */
async function capture(place: Place): Promise<void> {
  for (const ack of ['journal', 'store'] as const)
    await captured(place, ack, async (tidemark) => {
      await tidemark.snapshot()
      await tidemark.drill()
    })
  await breakUpload(place)
}

async function captured(
  { spec, database }: Place,
  ack: 'journal' | 'store',
  then: (tidemark: Tidemark) => Promise<void>,
): Promise<void> {
  const journal = join(directory, randomUUID())
  const tidemark = await Tidemark.capture({ store: spec, source: database, journal, ack })
  try {
    for (let n = 1; n <= 5; n++) await database.write({ ...USER, id: `u${n}` }, recordImage({ n, ack }))
    await database.write(USER, null)
    await tidemark.flush()
    await then(tidemark)
  } finally {
    await tidemark.close()
  }
}

/** A large file whose upload in parts is broken off, and taken back. */
async function breakUpload({ spec, prefix }: Place): Promise<void> {
  const { endpoint = '', credentials } = spec
  if (credentials === undefined) throw new Error('the test gives credentials')
  const store = new S3Store({ bucket: BUCKET, prefix, endpoint, credentials })
  await expectBroken(store.put('snapshot/broken', breaksOff()))
}

async function* breaksOff(): AsyncGenerator<Uint8Array> {
  for (let n = 0; n < 3; n++) yield new Uint8Array(8 * 1024 * 1024)
  throw new Error('broken off')
}

/** The abort of an upload that is denied is told beside what broke it off. */
async function expectBroken(put: Promise<void>): Promise<void> {
  const error = await put.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof Error) || error.message !== 'broken off') throw error
}

async function restore({ spec }: Place): Promise<void> {
  const tidemark = await Tidemark.open({ store: spec })
  try {
    expect((await tidemark.verify()).damage).toEqual([])
    const { plan } = await tidemark.restoreAt('latest', { target: `file:${directory}/${randomUUID()}` })
    expect(plan.snapshot).not.toBeNull()
    expect((await tidemark.status()).segments.events).toBeGreaterThan(0)
  } finally {
    await tidemark.close()
  }
}

async function prune(place: Place): Promise<void> {
  const tidemark = await Tidemark.open({ store: place.spec })
  try {
    await tidemark.erase('users', 'u1', { reason: 'asked for' })
  } finally {
    await tidemark.close()
  }
  await breakUpload(place)
}

const FLOWS: Record<Role, (place: Place) => Promise<void>> = { capture, restore, prune }

describe.skipIf(server === null)('a user of the S3 server who may do nothing but what a policy says', () => {
  if (server === null) return
  const owner = server.client()
  const limited = clientOf({ ...server, ...server.limited })

  /** A place with a history that the owner has made: whoever put an object himself could read it without any policy. */
  async function place(isEmpty = false): Promise<Place> {
    if (server === null) throw new Error('no server')
    await server.bucket(BUCKET)
    const prefix = `app-${randomUUID()}`
    const { endpoint, credentials } = server
    const spec = { url: `s3://${BUCKET}/${prefix}`, endpoint, credentials }
    const database = new ModelDatabase()
    if (!isEmpty)
      await captured({ spec, prefix, database }, 'journal', async (tidemark) => void (await tidemark.snapshot()))
    return { spec: { ...spec, credentials: server.limited }, prefix, database }
  }

  /** Whether the flow of the role ends well with this policy; a denial is told as one. */
  async function isEnough(role: Role, at: Place, policy: Policy): Promise<boolean> {
    await allow(owner, BUCKET, policy)
    try {
      await FLOWS[role](at)
      return true
    } catch (error) {
      if (hasCode(error, 'STORE_DENIED', 'ERASURE_INCOMPLETE') || `${error}`.includes('could not be removed'))
        return false
      throw error
    }
  }

  it.each(['capture', 'restore', 'prune'] as const)(
    '%s: the policy is enough, and without any action of it is not',
    {
      timeout: 240_000,
    },
    async (role) => {
      const first = await place()
      const policy = await policyOf(role, BUCKET, first.prefix)
      // Without the rights to be told what a bucket keeps everything works, and says what is not known: see versioned-bucket.test.ts.
      const Statement = policy.Statement.filter(({ Sid }) => !Sid.startsWith('Tell'))
      expect(await isEnough(role, first, { ...policy, Statement })).toBe(true)
      for (const { Sid, Action } of Statement) {
        for (const action of Action) {
          const at = await place()
          const less = without(await policyOf(role, BUCKET, at.prefix), Sid, action)
          expect(await isEnough(role, at, less), `without ${action} of ${Sid}`).toBe(false)
        }
      }
    },
  )

  it.each(['capture', 'restore', 'prune'] as const)('%s: what the policy does not allow is denied', async (role) => {
    const at = await place()
    await allow(owner, BUCKET, await policyOf(role, BUCKET, at.prefix))
    const { prefix } = at
    const put = (Key: string): Promise<unknown> =>
      limited.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: '-' }))
    const remove = (Key: string): Promise<unknown> => limited.send(new DeleteObjectCommand({ Bucket: BUCKET, Key }))
    const denied = { name: 'AccessDenied' }
    await expect(put('other/tidemark.json')).rejects.toMatchObject(denied)
    await expect(remove('other/tidemark.json')).rejects.toMatchObject(denied)
    await expect(put(`${prefix}-other/tidemark.json`)).rejects.toMatchObject(denied)
    await expect(limited.send(new GetBucketPolicyCommand({ Bucket: BUCKET }))).rejects.toMatchObject(denied)
    if (role !== 'prune') {
      await expect(remove(`${prefix}/tidemark.json`)).rejects.toMatchObject(denied)
      await expect(remove(`${prefix}/timeline/000000000001.json`)).rejects.toMatchObject(denied)
    }
    if (role === 'restore') await expect(put(`${prefix}/tidemark.json`)).rejects.toMatchObject(denied)
  })

  it('an erasure by one who may not delete tells so', async () => {
    const at = await place()
    await allow(owner, BUCKET, await policyOf('capture', BUCKET, at.prefix))
    await expect(prune(at)).rejects.toMatchObject({ code: 'ERASURE_INCOMPLETE', cause: { code: 'STORE_DENIED' } })
  })
})
