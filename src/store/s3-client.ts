import { Agent, type AgentOptions } from 'node:http'
import { Agent as SecureAgent } from 'node:https'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'

const CONNECT_MS = 10_000
const SILENCE_MS = 30_000
const CONNECTIONS = 50

/** Keys of an S3 account. They are never logged and never part of a URL. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Which bucket, and how its server is reached. */
export interface S3Options {
  readonly bucket: string
  /** Comes before every key, joined with '/'. */
  readonly prefix?: string
  /** Default: AWS. */
  readonly endpoint?: string
  /** Default: the SDK's usual sources; with an `endpoint`, `us-east-1`, which servers other than AWS accept. */
  readonly region?: string
  /** Default: the SDK's usual chain (environment, profile, instance). */
  readonly credentials?: S3Credentials
  /** The bucket in the path and not in the host name. Default: true with an `endpoint`. */
  readonly forcePathStyle?: boolean
  /**
   * A request on whose connection nothing moves for so long, in either direction, has failed: the server hangs.
   * Milliseconds, default 30,000. Connecting may take 10,000.
   */
  readonly silenceMs?: number
}

/** An S3 client that leaves retries and checksums to us. */
export function createClient(options: S3Options): S3Client {
  const { endpoint, credentials, silenceMs = SILENCE_MS } = options
  const region = options.region ?? (endpoint === undefined ? undefined : 'us-east-1')
  const config: S3ClientConfig = {
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    // One place retries: src/store/retry.ts. Retries here would hide a lost answer from the check of conditional puts.
    maxAttempts: 1,
    // The SDK's default adds a CRC trailer, which Ceph's gateway refuses (HTTP 411). Bodies are still protected:
    // the signature covers their SHA-256.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: silenceMs, ...agents() },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials: { ...credentials } }), // A copy: the SDK writes into it.
  }
  return new S3Client(config)
}

/** Connections through the proxy that HTTPS_PROXY or HTTP_PROXY names, but for the hosts of NO_PROXY. */
function agents(): { httpAgent: Agent; httpsAgent: SecureAgent } {
  const options: AgentOptions = { keepAlive: true, maxSockets: CONNECTIONS, proxyEnv: process.env }
  return { httpAgent: new Agent(options), httpsAgent: new SecureAgent(options) }
}
