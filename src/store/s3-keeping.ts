import {
  GetBucketLifecycleConfigurationCommand,
  GetBucketVersioningCommand,
  HeadObjectCommand,
  type LifecycleRule,
} from '@aws-sdk/client-s3'
import { messageOf } from '../base/errors.ts'
import type { Keeping, KeptVersions } from './keeping.ts'
import { s3Code, s3Error, s3Status } from './s3-errors.ts'
import { eachOf, type S3Place } from './s3-place.ts'

/** What servers answer that know no versions. */
const UNKNOWN_REQUEST = [400, 404, 405, 501]

/**
 * What a bucket keeps of objects that are deleted, by their full keys: one request where it keeps no versions, one for its rules
 * and one for each key where it does. A bucket whose versioning was suspended still has those from before, and is told as keeping them.
 */
export async function bucketKeeping(place: S3Place, keys: readonly string[]): Promise<Keeping> {
  const { client, bucket } = place
  try {
    const { Status } = await client.send(new GetBucketVersioningCommand({ Bucket: bucket }))
    if (Status === undefined) return { versions: 'none' }
  } catch (error) {
    const why = `whether the bucket '${bucket}' keeps versions may not be asked (s3:GetBucketVersioning: ${messageOf(error)})`
    if (s3Status(error) === 403) return { versions: 'unknown', why }
    if (!UNKNOWN_REQUEST.includes(s3Status(error)) || s3Code(error) === 'NoSuchBucket')
      throw s3Error(error, bucket, null)
    return { versions: 'unknown', why: `the server of the bucket '${bucket}' does not say whether it keeps versions` }
  }
  const expireDays = await expiryOf(place)
  return { versions: 'kept', expireDays, lockedUntil: await lastLock(place, keys), todo: todoOf(place, expireDays) }
}

/** After how many days a rule that covers the whole store lets older versions go; the first of them, since each one deletes. */
async function expiryOf({ client, bucket, prefix }: S3Place): Promise<KeptVersions['expireDays']> {
  try {
    const { Rules = [] } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }))
    const days = Rules.flatMap((rule) => daysOf(rule, prefix) ?? [])
    return days.length === 0 ? null : Math.min(...days)
  } catch (error) {
    if (s3Code(error) === 'NoSuchLifecycleConfiguration' || s3Status(error) === 404) return null
    if (s3Status(error) === 403 || UNKNOWN_REQUEST.includes(s3Status(error))) return 'unknown'
    throw s3Error(error, bucket, null)
  }
}

/** Null where the rule is off, covers a part only, or keeps some versions whatever their age. */
function daysOf({ Status, Filter, Prefix, NoncurrentVersionExpiration }: LifecycleRule, prefix: string): number | null {
  const { NoncurrentDays, NewerNoncurrentVersions = 0 } = NoncurrentVersionExpiration ?? {}
  if (Status !== 'Enabled' || NoncurrentDays === undefined || NewerNoncurrentVersions > 0) return null
  const { And, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan } = Filter ?? {}
  if (And !== undefined || Tag !== undefined) return null
  if (ObjectSizeGreaterThan !== undefined || ObjectSizeLessThan !== undefined) return null
  return prefix.startsWith(Filter?.Prefix ?? Prefix ?? '') ? NoncurrentDays : null
}

function todoOf({ bucket, prefix }: S3Place, expireDays: KeptVersions['expireDays']): string {
  if (typeof expireDays === 'number') return `Sooner: delete the older versions under s3://${bucket}/${prefix} by hand.`
  const rule = {
    ID: 'tidemark-older-versions',
    Status: 'Enabled',
    Filter: { Prefix: prefix },
    NoncurrentVersionExpiration: { NoncurrentDays: 30 },
    Expiration: { ExpiredObjectDeleteMarker: true },
  }
  return `Add this to the lifecycle rules of the bucket '${bucket}' (aws s3api get-bucket-lifecycle-configuration shows them, put-bucket-lifecycle-configuration replaces all of them): ${JSON.stringify(rule)}`
}

async function lastLock(place: S3Place, keys: readonly string[]): Promise<string | null> {
  let last: string | null = null
  await eachOf(keys, async (key) => {
    const until = await lockOf(place, key)
    // `held` comes behind every year.
    if (until !== null && (last === null || until > last)) last = until
  })
  return last
}

/** Until when an object is locked: RFC 3339, or `held`; null where it is not, is not there, or its lock may not be seen. */
export async function lockOf({ client, bucket }: S3Place, key: string): Promise<string | null> {
  try {
    const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
    if (head.ObjectLockLegalHoldStatus === 'ON') return 'held'
    return head.ObjectLockRetainUntilDate?.toISOString() ?? null
  } catch (error) {
    if ([403, 404].includes(s3Status(error))) return null
    throw s3Error(error, bucket, key)
  }
}
