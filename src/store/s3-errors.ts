import { type ErrorOptions, messageOf, TidemarkError } from '../base/errors.ts'
import { invalidKey, objectNotFound } from './keys.ts'

const TRANSIENT = ['SlowDown', 'RequestTimeout', 'ThrottlingException', 'OperationAborted', 'TimeoutError']
/** Of single keys in the answer about many, which have no HTTP status. */
const FAILED = ['InternalError', 'ServiceUnavailable', 'UnknownError']
/** Of the SDK's chain of providers: there was nothing to sign the request with, and it was not sent. */
const NO_CREDENTIALS = ['CredentialsProviderError', 'ProviderError', 'TokenProviderError']
const WRONG_REGION = ['PermanentRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException']

/** Whether a code says that the server failed, and nothing of what it was asked for. */
export function isTransient(code: string): boolean {
  return TRANSIENT.includes(code) || FAILED.includes(code)
}

/** The S3 error code (`NoSuchKey`), or the name of another error. */
export function s3Code(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

/** The HTTP status of the answer, or 0 where there was none. */
export function s3Status(error: unknown): number {
  if (!(error instanceof Error) || !('$metadata' in error)) return 0
  const metadata = error.$metadata
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return 0
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : 0
}

/** What a failed request to `bucket` means; `key` is the object's, or null where the request is about none. */
export function s3Error(error: unknown, bucket: string, key: string | null): TidemarkError {
  if (error instanceof TidemarkError) return error
  const code = s3Code(error)
  const status = s3Status(error)
  const where = key === null ? `the bucket '${bucket}'` : `'${key}' in the bucket '${bucket}'`
  const details = { bucket, key, s3Code: code, httpStatus: status }
  const raise = (as: TidemarkError['code'], message: string, hint: string): TidemarkError =>
    new TidemarkError(as, message, { hint, cause: error, details } satisfies ErrorOptions)

  if (code === 'NoSuchBucket') {
    return raise('STORE_NOT_FOUND', `There is no bucket '${bucket}'.`, 'Create the bucket, or check name and endpoint.')
  }
  if (code === 'QuotaExceeded' || status === 507) {
    return raise('STORE_FULL', `No space is left for ${where}. Nothing was stored.`, 'Raise the quota of the bucket.')
  }
  if (code === 'KeyTooLongError' && key !== null) return invalidKey(key, 'is too long together with the prefix', error)
  if (WRONG_REGION.includes(code)) {
    const hint = "Give the bucket's own region: s3://bucket/prefix?region=..."
    return raise('OPTION_INVALID', `The bucket '${bucket}' is in another region: ${messageOf(error)}`, hint)
  }
  if (status === 0 && messageOf(error).startsWith('Region is missing')) {
    const hint = 'Give a region: s3://bucket/prefix?region=..., or set AWS_REGION.'
    return raise('OPTION_INVALID', `No region is known for the bucket '${bucket}'.`, hint)
  }
  if (status === 0 && NO_CREDENTIALS.includes(code)) {
    const hint =
      'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the member credentials of the store; on a machine of AWS, give it a role.'
    return raise('STORE_DENIED', `No credentials were found for the bucket '${bucket}': ${messageOf(error)}`, hint)
  }
  if (status === 501) {
    const hint = 'Use a store whose server knows the request; nothing will change by itself.'
    return raise('STORE_UNSUPPORTED', `The server cannot do what was asked for ${where}: ${messageOf(error)}`, hint)
  }
  if (TRANSIENT.includes(code) || status >= 500 || status === 429) return unavailable(error, where, raise)
  if (status === 401 || status === 403) {
    const hint =
      'Check the credentials, the clock of this machine, and the policy: schemas/s3-policy of the package has what it takes.'
    return raise('STORE_DENIED', `Access to ${where} was denied (${code}): ${messageOf(error)}`, hint)
  }
  if (status === 404 && key !== null) return objectNotFound(key, error)
  if (status === 0) return unavailable(error, where, raise)
  const hint = 'Check endpoint, region and bucket name; the server must speak the S3 protocol.'
  return raise(
    'STORE_DENIED',
    `The request for ${where} was refused (${code}, HTTP ${status}): ${messageOf(error)}`,
    hint,
  )
}

function unavailable(
  error: unknown,
  where: string,
  raise: (as: TidemarkError['code'], message: string, hint: string) => TidemarkError,
): TidemarkError {
  const hint = 'Check the endpoint and the network. A process that captures tries again by itself.'
  return raise(
    'STORE_UNAVAILABLE',
    `No good answer for ${where}: ${messageOf(error) || s3Code(error)}${httpOf(error)}`,
    hint,
  )
}

function httpOf(error: unknown): string {
  return s3Status(error) === 0 ? '' : ` (HTTP ${s3Status(error)})`
}
