import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { EncryptedStore } from '../../src/store/encryption/encrypted-store.ts'
import { SecretKey } from '../../src/store/encryption/store-key.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { withRetry } from '../../src/store/retry.ts'
import { S3Store } from '../../src/store/s3.ts'
import { s3ForTests } from '../support/s3.ts'
import { TreeFiles } from '../support/simulated-files.ts'
import { SimulatedTree } from '../support/simulated-tree.ts'
import { objectStoreContract } from './object-store.ts'

const nothing = async (): Promise<void> => {}

const storeKey = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', key: SecretKey.random() }
const encrypted = (store: ObjectStore): ObjectStore => new EncryptedStore(store, storeKey, () => false)

objectStoreContract('memory', async () => ({ store: new MemoryStore(), dispose: nothing }))
objectStoreContract('retry over memory', async () => ({ store: withRetry(new MemoryStore()), dispose: nothing }))

objectStoreContract('encryption over memory', async () => ({ store: encrypted(new MemoryStore()), dispose: nothing }))
objectStoreContract('encryption over retry over memory', async () => {
  return { store: encrypted(withRetry(new MemoryStore())), dispose: nothing }
})

for (const wrap of [null, encrypted])
  objectStoreContract(wrap === null ? 'file system' : 'encryption over file system', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
    const dispose = (): Promise<void> => rm(directory, { recursive: true })
    const store = new FilesystemStore(join(directory, 'not', 'yet'))
    return { store: wrap === null ? store : wrap(store), dispose }
  })
objectStoreContract('file system on the simulated disk', async () => ({
  store: new FilesystemStore('/not/yet', systemClock, new TreeFiles(new SimulatedTree())),
  dispose: nothing,
}))

const s3 = s3ForTests()
describe.skipIf(s3 === null)('over the network', () => {
  objectStoreContract('encryption over S3', async () => {
    if (s3 === null) throw new Error('no S3 server')
    const { options, dispose } = await s3.fresh()
    return { store: encrypted(new S3Store(options)), dispose }
  })

  objectStoreContract('S3', async () => {
    if (s3 === null) throw new Error('no S3 server')
    const { options, dispose } = await s3.fresh()
    return { store: new S3Store(options), dispose }
  })
})
