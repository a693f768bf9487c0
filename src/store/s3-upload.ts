import { randomUUID } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Body } from './object-store.ts'
import type { Retry } from './retry.ts'
import { s3Code, s3Error } from './s3-errors.ts'

const IN_FLIGHT = 4
const MAX_PARTS = 10_000
/** Metadata that says which upload made an object: after a lost answer it proves that the object is ours. */
const MARK = 'tidemark-upload'

/** Where an upload goes, and how its requests are repeated. */
export interface UploadTarget {
  readonly client: S3Client
  readonly bucket: string
  /** With the prefix of the store. */
  readonly key: string
  readonly retry: Retry
}

/**
 * Uploads `parts` (each but the last of one size, at least 5 MiB: some servers want that) as one object, four at a
 * time. Where anything fails, the upload is aborted, so that no parts stay behind that cost money and no listing shows.
 * Only where the answer to its beginning is lost can an upload stay open, and that one is empty.
 */
export async function uploadParts(target: UploadTarget, parts: AsyncIterable<Uint8Array>): Promise<void> {
  const { client, bucket, key, retry } = target
  const mark = randomUUID()
  const create = { Bucket: bucket, Key: key, Metadata: { [MARK]: mark } }
  const { UploadId } = await retry(() => client.send(new CreateMultipartUploadCommand(create)).catch(raise(target)))
  const upload = { Bucket: bucket, Key: key, UploadId }
  try {
    const done = await sendParts(target, UploadId, parts)
    await retry(async (failed) => {
      const complete = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: done } })
      await client.send(complete).catch(async (error: unknown) => {
        if (failed > 0 && s3Code(error) === 'NoSuchUpload' && (await isOurs(target, mark))) return
        raise(target)(error)
      })
    })
  } catch (error) {
    await retry(() => client.send(new AbortMultipartUploadCommand(upload)).catch(raise(target))).catch(
      (failure: unknown) => {
        if (s3Code(failure) !== 'NoSuchUpload' && !causedBy(failure, 'NoSuchUpload')) throw partsLeft(error, UploadId)
      },
    )
    throw error
  }
}

async function sendParts(
  target: UploadTarget,
  uploadId: string | undefined,
  parts: AsyncIterable<Uint8Array>,
): Promise<CompletedPart[]> {
  const { client, bucket, key, retry } = target
  const sent: Promise<CompletedPart>[] = []
  try {
    for await (const body of parts) {
      const number = sent.length + 1
      if (number > MAX_PARTS) throw tooManyParts(key)
      const part = { Bucket: bucket, Key: key, UploadId: uploadId, PartNumber: number, Body: body }
      const answer = retry(() => client.send(new UploadPartCommand(part)).catch(raise(target)))
      const done = answer.then(({ ETag }) => ({ PartNumber: number, ETag }))
      // Its failure is seen below; until then it must not count as unhandled while the stream is waited for.
      void Promise.allSettled([done])
      sent.push(done)
      await sent[sent.length - IN_FLIGHT]
    }
    return await Promise.all(sent)
  } finally {
    // An abort frees only parts that have arrived: none may be under way when it is sent.
    await Promise.allSettled(sent)
  }
}

async function isOurs(target: UploadTarget, mark: string): Promise<boolean> {
  const { client, bucket, key } = target
  const { Metadata } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key })).catch(raise(target))
  return Metadata?.[MARK] === mark
}

/** `body` in pieces of exactly `bytes`, the last one shorter. */
export async function* partsOf(body: Body, bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  if (body instanceof Uint8Array) {
    for (let at = 0; at < body.length; at += bytes) yield body.subarray(at, at + bytes)
    return
  }
  let part = new Uint8Array(bytes)
  let filled = 0
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + bytes - filled)
      part.set(piece, filled)
      filled += piece.length
      at += piece.length
      if (filled < bytes) continue
      yield part
      part = new Uint8Array(bytes)
      filled = 0
    }
  }
  if (filled > 0) yield part.subarray(0, filled)
}

function raise({ bucket, key }: UploadTarget): (error: unknown) => never {
  return (error) => {
    throw s3Error(error, bucket, key)
  }
}

function causedBy(error: unknown, code: string): boolean {
  return error instanceof Error && s3Code(error.cause) === code
}

function partsLeft(error: unknown, uploadId: string | undefined): TidemarkError {
  const code = error instanceof TidemarkError ? error.code : 'STORE_UNAVAILABLE'
  const message = `${messageOf(error)} The parts that had been uploaded could not be removed (upload ${uploadId}).`
  return new TidemarkError(code, message, {
    hint: 'Abort that upload when the store answers again; a lifecycle rule for incomplete uploads does it by itself.',
    cause: error,
  })
}

function tooManyParts(key: string): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `'${key}' is too large for ${MAX_PARTS} parts; nothing was stored.`, {
    hint: 'Split it into several objects.',
  })
}
