import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { messageOf } from '../base/errors.ts'
import { deletionRefused, type Undeleted } from './refusals.ts'
import { isTransient, s3Code, s3Error, s3Status } from './s3-errors.ts'
import { lockOf } from './s3-keeping.ts'
import { eachOf, type S3Place } from './s3-place.ts'

const DELETE_BATCH = 1000
/** Objects that a server has refused are asked for the end of their locks by so many, until none of them has one: who has no right to delete would ask for each. */
const ASKED_AT_ONCE = 8
/** The server does not know who asks: no other key would be answered otherwise. */
const NOBODY = ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'RequestTimeTooSkewed']

/** What one key was answered. */
interface Refused {
  readonly key: string
  readonly error: unknown
}

/**
 * Deletes objects by their full keys: all that the server lets go. Errors: `STORE_DENIED` naming, without the prefix, those that it
 * refused, with the end of their locks as far as it tells; or what kept the server from answering.
 */
export async function deleteObjects(place: S3Place, keys: readonly string[]): Promise<void> {
  const refused = await deleteEach(place, keys.filter(needsOwnRequest))
  const plain = keys.filter((key) => !needsOwnRequest(key))
  for (let at = 0; at < plain.length; at += DELETE_BATCH)
    refused.push(...(await deleteBatch(place, plain.slice(at, at + DELETE_BATCH))))
  const [first] = refused
  if (first !== undefined) throw deletionRefused(await withLocks(place, refused), first.error)
}

async function deleteBatch(place: S3Place, keys: readonly string[]): Promise<Refused[]> {
  const { client, bucket } = place
  const Delete = { Objects: keys.map((Key) => ({ Key })), Quiet: true }
  const answer = await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete })).catch((error: unknown) => {
    // Ceph wants the right to delete on the bucket itself here, where a policy gives it for a prefix.
    if (s3Status(error) === 403 && !NOBODY.includes(s3Code(error))) return null
    throw s3Error(error, bucket, null)
  })
  if (answer === null) return deleteEach(place, keys)
  const refused: Refused[] = []
  for (const { Key = '', Code = 'UnknownError', Message } of answer.Errors ?? []) {
    if (Code === 'NoSuchKey') continue
    const error = Object.assign(new Error(Message ?? Code), {
      name: Code,
      $metadata: { httpStatusCode: statusOf(Code) },
    })
    refused.push(refusedOrThrow(place, Key, error))
  }
  return refused
}

async function deleteEach(place: S3Place, keys: readonly string[]): Promise<Refused[]> {
  const { client, bucket } = place
  const refused: Refused[] = []
  await eachOf(keys, async (key) => {
    try {
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
    } catch (error) {
      refused.push(refusedOrThrow(place, key, error))
    }
  })
  return refused
}

/** An answer about this object alone, or an error about all that were asked for. */
function refusedOrThrow({ bucket, prefix }: S3Place, key: string, error: unknown): Refused {
  const told = s3Error(error, bucket, key.slice(prefix.length))
  if (told.code !== 'STORE_DENIED' || NOBODY.includes(s3Code(error))) throw told
  return { key, error }
}

async function withLocks(place: S3Place, refused: readonly Refused[]): Promise<readonly Undeleted[]> {
  const untils = new Map<string, string | null>()
  for (let at = 0; at < refused.length; at += ASKED_AT_ONCE) {
    const asked = refused.slice(at, at + ASKED_AT_ONCE).map(({ key }) => key)
    await eachOf(asked, async (key) => void untils.set(key, await lockOf(place, key)))
    if (asked.every((key) => untils.get(key) === null)) break
  }
  return refused.map(({ key, error }) => ({
    key: key.slice(place.prefix.length),
    message: `${s3Code(error)}: ${messageOf(error)}`,
    until: untils.get(key) ?? null,
  }))
}

/** The HTTP status that a single request would have had. */
function statusOf(code: string): number {
  return isTransient(code) ? 503 : 403
}

/** The request for many keys is XML 1.0, which has no form for control characters. */
function needsOwnRequest(key: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return /[\u0001-\u001f\u007f-\u009f\ufffe\uffff]/.test(key)
}
