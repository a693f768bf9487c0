import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { withRetry } from '../../src/store/retry.ts'
import { S3Store } from '../../src/store/s3.ts'
import { s3ForTests } from '../support/s3.ts'
import { objectStoreContract } from './object-store.ts'

const nothing = async (): Promise<void> => {}

objectStoreContract('memory', async () => ({ store: new MemoryStore(), dispose: nothing }))
objectStoreContract('retry over memory', async () => ({ store: withRetry(new MemoryStore()), dispose: nothing }))

objectStoreContract('file system', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
  const dispose = (): Promise<void> => rm(directory, { recursive: true })
  return { store: new FilesystemStore(join(directory, 'not', 'yet')), dispose }
})

const s3 = s3ForTests()
describe.skipIf(s3 === null)('over the network', () => {
  objectStoreContract('S3', async () => {
    if (s3 === null) throw new Error('no S3 server')
    const { options, dispose } = await s3.fresh()
    return { store: new S3Store(options), dispose }
  })
})
