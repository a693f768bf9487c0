import { describe } from 'vitest'
import { sourceContract } from '../../src/testing.ts'
import { contract } from '../support/contract.ts'
import { MemoryDocuments } from '../support/memory-documents.ts'
import { s3ForTests } from '../support/s3.ts'
import { KINDS_OF_CLIENT, newDatabase } from '../support/s3db.ts'
import { SOURCE_IDS, s3dbSource } from '../support/s3db-contract.ts'
import { connectedOnS3 } from '../support/s3db-on-s3.ts'

contract(
  'Source: an adapter on what is exported',
  sourceContract(async () => {
    const database = new MemoryDocuments()
    const write = (writes: Parameters<typeof database.write>[0]): Promise<void> => database.write(writes)
    const refused = (): Promise<void> =>
      write([
        { resource: 'users', id: 'u1', value: null },
        { resource: 'users', id: 'refused', value: null },
      ])
    return { source: database, write, refused, dispose: async () => {} }
  }),
)

for (const kind of KINDS_OF_CLIENT) {
  contract(
    `Source: s3db.js on ${kind}://`,
    sourceContract(async () => s3dbSource((await newDatabase(kind)).db), { ids: SOURCE_IDS, isTransactional: false }),
  )
}

const server = s3ForTests()

describe.skipIf(server === null)('over the network', () => {
  contract(
    'Source: s3db.js on S3',
    sourceContract(async () => s3dbSource(await connectedOnS3(server)), { ids: SOURCE_IDS, isTransactional: false }),
  )
})
