import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { openDirectoryTarget } from '../../src/engine/targets.ts'
import { targetContract } from '../../src/testing.ts'
import { contract } from '../support/contract.ts'
import { MemoryDocuments } from '../support/memory-documents.ts'
import { s3ForTests } from '../support/s3.ts'
import { KINDS_OF_CLIENT, newDatabase } from '../support/s3db.ts'
import { s3dbTarget } from '../support/s3db-contract.ts'
import { connectedOnS3 } from '../support/s3db-on-s3.ts'

contract(
  'Target: an adapter on what is exported',
  targetContract(
    async () => {
      const database = new MemoryDocuments()
      return { open: async () => database.target(), dispose: async () => {} }
    },
    { seesConflicts: true },
  ),
)

contract(
  'Target: a directory',
  targetContract(async () => {
    const home = await mkdtemp(join(tmpdir(), 'tidemark-target-'))
    const request = { moment: '01KAJ0QZX3N5V7E8T9RYBWDCFG', database: 'model://test' }
    const open = async () => openDirectoryTarget(join(home, 'target'), request)
    return { open, dispose: () => rm(home, { recursive: true }) }
  }),
)

for (const kind of KINDS_OF_CLIENT) {
  contract(
    `Target: s3db.js on ${kind}://`,
    targetContract(async () => s3dbTarget((await newDatabase(kind)).db)),
  )
}

const server = s3ForTests()

describe.skipIf(server === null)('over the network', () => {
  contract(
    'Target: s3db.js on S3',
    targetContract(async () => s3dbTarget(await connectedOnS3(server))),
  )
})
