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
import { openStore } from '../../src/store/open.ts'
import { withRetry } from '../../src/store/retry.ts'
import { S3Store } from '../../src/store/s3.ts'
import { objectStoreContract } from '../../src/testing.ts'
import { contract } from '../support/contract.ts'
import { s3ForTests } from '../support/s3.ts'
import { TreeFiles } from '../support/simulated-files.ts'
import { SimulatedTree } from '../support/simulated-tree.ts'

const nothing = async (): Promise<void> => {}

const storeKey = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', key: SecretKey.random() }
const encrypted = (store: ObjectStore): ObjectStore => new EncryptedStore(store, storeKey, () => false)

contract(
  'ObjectStore: memory',
  objectStoreContract(async () => ({ store: new MemoryStore(), dispose: nothing })),
)
contract(
  'ObjectStore: retry over memory',
  objectStoreContract(async () => ({ store: withRetry(new MemoryStore()), dispose: nothing })),
)

contract(
  'ObjectStore: one of somebody else',
  objectStoreContract(async () => {
    return { store: await openStore({ url: 'own://store', objects: new MemoryStore() }), dispose: nothing }
  }),
)

contract(
  'ObjectStore: encryption over memory',
  objectStoreContract(async () => ({ store: encrypted(new MemoryStore()), dispose: nothing })),
)
contract(
  'ObjectStore: encryption over retry over memory',
  objectStoreContract(async () => {
    return { store: encrypted(withRetry(new MemoryStore())), dispose: nothing }
  }),
)

for (const wrap of [null, encrypted])
  contract(
    `ObjectStore: ${wrap === null ? 'file system' : 'encryption over file system'}`,
    objectStoreContract(async () => {
      const directory = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
      const dispose = (): Promise<void> => rm(directory, { recursive: true })
      const store = new FilesystemStore(join(directory, 'not', 'yet'))
      return { store: wrap === null ? store : wrap(store), dispose }
    }),
  )
contract(
  'ObjectStore: file system on the simulated disk',
  objectStoreContract(async () => ({
    store: new FilesystemStore('/not/yet', systemClock, new TreeFiles(new SimulatedTree())),
    dispose: nothing,
  })),
)

const s3 = s3ForTests()
describe.skipIf(s3 === null)('over the network', () => {
  contract(
    'ObjectStore: encryption over S3',
    // Pages are those of the store below; thousands of requests to see them are made once.
    objectStoreContract(async () => {
      if (s3 === null) throw new Error('no S3 server')
      const { options, dispose } = await s3.fresh()
      return { store: encrypted(new S3Store(options)), dispose }
    }).filter(({ name }) => !name.startsWith('lists more than a thousand keys')),
  )

  contract(
    'ObjectStore: S3',
    objectStoreContract(async () => {
      if (s3 === null) throw new Error('no S3 server')
      const { options, dispose } = await s3.fresh()
      return { store: new S3Store(options), dispose }
    }),
  )
})
