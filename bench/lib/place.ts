import type { S3Client } from '@aws-sdk/client-s3'
import type { S3db } from 's3db.js/lite'
import { isInstalled, type RunningS3Server, startRgw } from '../../test/support/rgw.ts'
import { clientOf, makeBucket } from '../../test/support/s3-bucket.ts'
import { s3dbOnS3 } from '../../test/support/s3db-on-s3.ts'
import { openDatabase } from './application.ts'

/** Where the databases of a bench are. */
export type Kind = 'memory' | 'file' | 's3'

/** What opens empty databases of one kind. */
export interface Place {
  open(directory: string): Promise<S3db>
  close(): Promise<void>
}

/** How much later than on loopback the server gets a request: a bucket of the same region. */
const NETWORK_MS = 20
const MOST_CONNECTIONS = 10_000

/** Databases of this kind; null, and a line on stderr, where this machine cannot have them. */
export async function placeOf(kind: Kind): Promise<Place | null> {
  if (kind !== 's3') return { open: (directory) => openDatabase(kind, directory), close: async () => {} }
  if (isInstalled()) return onS3(await startRgw())
  console.error("Ceph's RADOS Gateway is not installed (npm test installs it): the rows for S3 are left out.")
  return null
}

function onS3({ server, stop }: RunningS3Server): Place {
  const open = async (): Promise<S3db> => {
    const place = await s3dbOnS3({
      endpoint: server.endpoint,
      credentials: server,
      // s3db.js leaves answers without a body unread, and their connections are not used again.
      client: () => later(clientOf(server, { requestHandler: { httpAgent: { maxSockets: MOST_CONNECTIONS } } })),
      bucket: (name) => makeBucket(server, name),
    })
    const db = place.open()
    await db.connect()
    return db
  }
  return { open, close: stop }
}

/** The network between the application and the server: it takes time, and nobody's processor. */
function later(client: S3Client): S3Client {
  client.middlewareStack.add(
    (next) => async (args) => {
      await new Promise((resolve) => setTimeout(resolve, NETWORK_MS))
      return next(args)
    },
    { step: 'finalizeRequest', name: 'network', priority: 'low' },
  )
  return client
}
