import { readFile } from 'node:fs/promises'
import { PutBucketPolicyCommand, type S3Client } from '@aws-sdk/client-s3'
import { LIMITED_USER } from './rgw.ts'

/** What may be done with a store: a file of `schemas/s3-policy`, for one bucket and prefix. */
export interface Policy {
  readonly Version: string
  readonly Statement: readonly Statement[]
}

interface Statement {
  readonly Sid: string
  readonly Effect: string
  readonly Action: readonly string[]
  readonly Resource: readonly string[]
}

/** The policies that are published. */
export type Role = 'capture' | 'restore' | 'prune'

/** The policy of a role, as whoever applies it has it after putting bucket and prefix in. */
export async function policyOf(role: Role, bucket: string, prefix: string): Promise<Policy> {
  const text = await readFile(new URL(`../../schemas/s3-policy/${role}.json`, import.meta.url), 'utf8')
  return JSON.parse(text.replaceAll('BUCKET', bucket).replaceAll('PREFIX', prefix))
}

/** The policy without one action, and without a statement that allowed nothing else. */
export function without({ Version, Statement }: Policy, sid: string, action: string): Policy {
  const kept = Statement.map((one) =>
    one.Sid === sid ? { ...one, Action: one.Action.filter((other) => other !== action) } : one,
  )
  return { Version, Statement: kept.filter(({ Action }) => Action.length > 0) }
}

/** Lets the limited user do what the policy says, and nothing else in this bucket: `client` is the owner's. */
export async function allow(client: S3Client, bucket: string, { Version, Statement }: Policy): Promise<void> {
  const Principal = { AWS: [LIMITED_USER] }
  const statements = Statement.map((statement) => ({ ...statement, Principal }))
  const Policy = JSON.stringify({ Version, Statement: statements })
  await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }))
}
