import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { S3Server } from './rgw.ts'

/** A client of the SDK itself. */
export function clientOf(
  { endpoint, accessKeyId, secretAccessKey }: S3Server,
  options: Pick<S3ClientConfig, 'requestHandler'> = {},
): S3Client {
  return new S3Client({
    ...options,
    endpoint,
    credentials: { accessKeyId, secretAccessKey },
    region: 'us-east-1',
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}

/** Makes the bucket where it does not exist; returns its name. */
export async function makeBucket(server: S3Server, name: string): Promise<string> {
  await clientOf(server).send(new CreateBucketCommand({ Bucket: name }))
  return name
}
