import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskContract } from '../../src/testing.ts'
import { contract } from '../support/contract.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

contract(
  'Disk: the one of journals',
  diskContract(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-disk-'))
    return { directory, dispose: () => rm(directory, { recursive: true }) }
  }),
)

for (const seed of [1, 2, 3]) {
  contract(
    `Disk: simulated, with power cuts from seed ${seed}`,
    diskContract(async () => {
      const disk = new SimulatedDisk({ seed })
      const cutPower = async (): Promise<SimulatedDisk> => new SimulatedDisk({ seed }, disk.powerOff())
      return { disk, directory: 'journal', cutPower, dispose: async () => {} }
    }),
  )
}
