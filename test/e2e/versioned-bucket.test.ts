import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type StoreSpec, Tidemark } from '../../src/index.ts'
import { type Keeping, keepingOf } from '../../src/store/keeping.ts'
import { openStore } from '../../src/store/open.ts'
import { refusalsIn } from '../../src/store/refusals.ts'
import { conditionalFront } from '../support/conditional-front.ts'
import { inProcess } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { s3ForTests } from '../support/s3.ts'
import { allow, policyOf } from '../support/s3-policy.ts'

const server = s3ForTests()
const directory = mkdtempSync(join(tmpdir(), 'versioned-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const SECRET = 'what-nobody-may-read-any-more'
const person = (id: string) => ({ kind: 'record', resource: 'people', id }) as const

describe.skipIf(server === null)('a bucket that keeps versions', () => {
  if (server === null) return
  const client = server.client()
  let front: Awaited<ReturnType<typeof conditionalFront>>
  beforeAll(async () => {
    front = await conditionalFront(server.endpoint, client)
  })
  afterAll(() => front.close())

  async function bucketWith(lock: boolean): Promise<{ readonly bucket: string; readonly spec: StoreSpec }> {
    const bucket = `versions-${randomUUID()}`
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: lock }))
    const VersioningConfiguration = { Status: 'Enabled' } as const
    if (!lock) await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
    const spec = { url: `s3://${bucket}/app`, endpoint: front.endpoint, credentials: server?.credentials ?? none() }
    return { bucket, spec }
  }

  /** A record in segments and a snapshot, deleted in the database afterwards. */
  async function filled(spec: StoreSpec): Promise<void> {
    const database = new ModelDatabase()
    const journal = join(directory, randomUUID())
    const tidemark = await Tidemark.capture({ store: spec, source: database, journal, compaction: false })
    await database.write(person('ann'), recordImage({ text: SECRET }))
    await database.write(person('bob'), recordImage({ text: 'stays' }))
    await tidemark.flush()
    await tidemark.snapshot()
    await database.write(person('ann'), null)
    await tidemark.flush()
    await tidemark.snapshot()
    await tidemark.close()
  }

  async function expireAfter(bucket: string, days: number, Prefix: string): Promise<void> {
    const rule = { ID: 'old', Status: 'Enabled', Filter: { Prefix } } as const
    const Rules = [{ ...rule, NoncurrentVersionExpiration: { NoncurrentDays: days } }]
    await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules } }))
  }

  /** Whether a version of an object has the text: by the SDK alone. */
  async function versionsWith(
    bucket: string,
    text: string,
  ): Promise<{ readonly latest: number; readonly older: number }> {
    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }))
    const found = { latest: 0, older: 0 }
    for (const { Key, VersionId, IsLatest } of Versions) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key, VersionId }))
      const bytes = Buffer.from((await Body?.transformToByteArray()) ?? [])
      if (bytes.includes(text)) found[IsLatest === true ? 'latest' : 'older']++
    }
    return found
  }

  it('an erasure says that the record is still there, for how long, and what lets it go', {
    timeout: 120_000,
  }, async () => {
    const { bucket, spec } = await bucketWith(false)
    await filled(spec)
    const args = ['erase', 'people/ann', '--reason', 'asked for', '--yes']
    const planned = await inProcess(spec, ...args, '--dry-run')
    expect(planned.code).toBe(0)
    expect(planned.out).toContain('The record would NOT be gone')
    const erased = await inProcess(spec, ...args)
    expect(erased.code).toBe(11)
    expect(erased.out).toContain(
      'The record is NOT gone from the place itself: older versions of the files with the record stay',
    )
    expect(erased.out).toContain('for ever: no rule of it lets older versions go')
    expect(erased.out).toContain('"NoncurrentVersionExpiration"')
    expect(erased.out).toContain('"Filter":{"Prefix":"app/"}')
    // It is true: the id of a short column chunk is stored as it is.
    const { latest, older } = await versionsWith(bucket, 'ann')
    expect(older).toBeGreaterThan(0)
    expect(latest).toBe(0)
    await expireAfter(bucket, 7, 'other/')
    const { keeping: covered } = JSON.parse((await inProcess(spec, 'status', '--json')).out)
    expect(covered).toMatchObject({ versions: 'kept', expireDays: null, lockedUntil: null })
    await expireAfter(bucket, 7, 'app/')
    const status = await inProcess(spec, 'status')
    expect(status.out).toContain('the store keeps what is deleted, with its content, for 7 days')
    const prune = await inProcess(spec, 'prune', '--window', '1d')
    expect(prune.out).toContain('with its content, for 7 days')
    const { keeping } = JSON.parse((await inProcess(spec, 'prune', '--window', '1d', '--confirm', '--json')).out)
    expect(keeping).toMatchObject({ versions: 'kept', expireDays: 7 })
    expect((await inProcess(spec, 'upkeep')).out).toContain('for 7 days')
    // Whose versioning was suspended has the older ones still.
    const VersioningConfiguration = { Status: 'Suspended' } as const
    await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
    expect(await keepingOf(await openStore(spec), [])).toMatchObject({ versions: 'kept' })
  })

  it('a plain bucket keeps nothing, and nothing is said', async () => {
    const { options, dispose } = await (server ?? none()).fresh()
    const { endpoint, credentials } = server ?? none()
    const spec = { url: `s3://${options.bucket}/${options.prefix}`, endpoint, credentials }
    await filled(spec)
    const erased = await inProcess(spec, 'erase', 'people/ann', '--reason', 'asked for', '--yes')
    expect(erased.out).not.toContain('older versions')
    expect(erased.code).toBe(0)
    expect(await keepingOf(await openStore(spec), [])).toEqual({ versions: 'none' })
    await dispose()
  })

  it('under an object lock an erasure says until when, and what is refused is named with the end of its lock', async () => {
    const { bucket, spec } = await bucketWith(true)
    const DefaultRetention = { Mode: 'COMPLIANCE', Days: 3 } as const
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention } } as const
    await client.send(new PutObjectLockConfigurationCommand({ Bucket: bucket, ObjectLockConfiguration }))
    await filled(spec)
    const store = await openStore(spec)
    const segments: string[] = []
    for await (const { key } of store.list('segment/')) segments.push(key)
    const [locked = ''] = segments
    const deny = { Sid: 'Keep', Effect: 'Deny', Principal: { AWS: ['*'] }, Action: ['s3:DeleteObject'] }
    const denial = (keys: readonly string[]): string =>
      JSON.stringify({
        Version: '2012-10-17',
        Statement: [{ ...deny, Resource: keys.map((key) => `arn:aws:s3:::${bucket}/app/${key}`) }],
      })
    await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: denial([locked]) }))
    const error = await store.delete([locked]).catch((thrown: unknown) => thrown)
    const [refusal] = refusalsIn(error) ?? []
    expect(refusal).toMatchObject({ key: locked, message: expect.stringContaining('AccessDenied') })
    const until = Date.parse(refusal?.until ?? '')
    expect(until).toBeGreaterThan(Date.now() + 2 * 86_400_000)

    const refused = await inProcess(spec, 'erase', 'people/ann', '--reason', 'asked for', '--yes')
    expect(refused.code).toBe(5)
    expect(refused.err).toContain('files with it are still in the store')
    expect(refused.err).toContain(`locked until ${refusal?.until}`)
    // The rest went all the same, and the same command takes what is left when it may.
    const left: string[] = []
    for await (const { key } of store.list('segment/')) if (segments.includes(key)) left.push(key)
    expect(left).toEqual([locked])
    await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: denial(['nothing']) }))
    const again = await inProcess(spec, 'erase', 'people/ann', '--reason', 'asked for', '--yes')
    expect(again.out).toContain(`some are locked until ${refusal?.until}`)
    expect(again.code).toBe(11)
    expect(await store.head(locked)).toBeNull()
  })
  it('a role that may not ask says that it does not know', async () => {
    const { bucket, spec } = await bucketWith(true)
    const DefaultRetention = { Mode: 'COMPLIANCE', Days: 3 } as const
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention } } as const
    await client.send(new PutObjectLockConfigurationCommand({ Bucket: bucket, ObjectLockConfiguration }))
    await expireAfter(bucket, 7, '')
    await (await openStore(spec)).put('k', Buffer.from('x'))
    const told = async (right: string | null): Promise<Keeping> => {
      const all = await policyOf('prune', bucket, 'app')
      const left = all.Statement.map((one) => ({ ...one, Action: one.Action.filter((other) => other !== right) }))
      await allow(client, bucket, { ...all, Statement: left.filter(({ Action }) => Action.length > 0) })
      const { limited } = server ?? none()
      return keepingOf(await openStore({ ...spec, credentials: limited }), ['k'])
    }
    const lockedUntil = expect.stringMatching(/^\d{4}-/)
    expect(await told(null)).toMatchObject({ versions: 'kept', expireDays: 7, lockedUntil })
    const why = expect.stringContaining('s3:GetBucketVersioning')
    expect(await told('s3:GetBucketVersioning')).toEqual({ versions: 'unknown', why })
    expect(await told('s3:GetLifecycleConfiguration')).toMatchObject({ expireDays: 'unknown', lockedUntil })
    expect(await told('s3:GetObjectRetention')).toMatchObject({ expireDays: 7, lockedUntil: null })
  })
})

function none(): never {
  throw new Error('no S3 server')
}
