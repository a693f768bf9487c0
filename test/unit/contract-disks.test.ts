import { expect, test } from 'vitest'
import type { Disk, DiskFile } from '../../src/index.ts'
import { diskContract } from '../../src/testing.ts'
import { failing } from '../support/contract.ts'
import { type DiskLies, SimulatedDisk } from '../support/simulated-disk.ts'

/** The names of the cases that fail on a simulated disk; what was not synced may be there all the same, by the seed. */
async function failingDisk(name: string, lies: DiskLies, over: (disk: Disk) => Disk): Promise<string[]> {
  const names: string[] = []
  for (let seed = 1; seed <= 3 && names.length === 0; seed++) {
    const cases = diskContract(async () => {
      const disk = new SimulatedDisk({ ...lies, seed })
      const cutPower = async (): Promise<Disk> => new SimulatedDisk({ seed }, disk.powerOff())
      return { disk: over(disk), directory: 'journal', cutPower, dispose: async () => {} }
    })
    names.push(...(await failing(cases.filter((one) => one.name.includes(name)))))
  }
  return names
}

/** A disk whose calls are another's, but for these. */
function diskWith(disk: Disk, calls: Partial<Disk>): Disk {
  return {
    list: (directory) => disk.list(directory),
    read: (path, start, end) => disk.read(path, start, end),
    open: (path) => disk.open(path),
    remove: (path) => disk.remove(path),
    syncDirectory: (directory) => disk.syncDirectory(directory),
    ...calls,
  }
}

/** A disk that does something else with what is committed. */
function committing(
  disk: Disk,
  commit: (file: DiskFile, ...args: Parameters<DiskFile['commit']>) => Promise<void>,
): Disk {
  return diskWith(disk, {
    open: async (path) => {
      const file = await disk.open(path)
      return { commit: (...args) => commit(file, ...args), close: () => file.close() }
    },
  })
}

const BAD_DISKS: readonly (readonly [string, DiskLies, (disk: Disk) => Disk, string])[] = [
  ['that syncs nothing', { syncDoesNothing: true }, (disk) => disk, 'when the power was cut'],
  ['whose commits resolve before they are durable', { resolvesEarly: true }, (disk) => disk, 'when the power was cut'],
  [
    'that does not sync its directories',
    {},
    (disk) => diskWith(disk, { syncDirectory: async () => {} }),
    'when the power was cut',
  ],
  [
    'that writes less than it was given',
    {},
    (disk) => committing(disk, (file, bytes, at, written) => file.commit(bytes.subarray(0, 65_536), at, written)),
    'every byte that was committed',
  ],
  [
    'that appends, wherever it is told to write',
    {},
    (disk) => {
      let end = 0
      return committing(disk, (file, bytes) => {
        const at = end
        end += bytes.length
        return file.commit(bytes, at)
      })
    },
    'writes where it is told to',
  ],
  [
    'that keeps the bytes of its caller',
    {},
    (disk) =>
      committing(disk, async (file, bytes, at) => {
        // Where the power is cut meanwhile, nobody is told.
        setImmediate(() => file.commit(bytes, at).catch(() => undefined))
      }),
    'its own copy',
  ],
  [
    'that fills up what a file does not have',
    {},
    (disk) =>
      diskWith(disk, {
        read: async (path, start, end) => {
          const bytes = new Uint8Array(end - start)
          bytes.set(await disk.read(path, start, end))
          return bytes
        },
      }),
    'fewer bytes where the file ends',
  ],
  [
    'that empties what it opens',
    {},
    (disk) =>
      diskWith(disk, {
        open: async (path) => {
          await disk.remove(path)
          return disk.open(path)
        },
      }),
    'opens the same one again',
  ],
  [
    'that leaves out empty files',
    {},
    (disk) => diskWith(disk, { list: async (path) => (await disk.list(path)).filter(({ bytes }) => bytes > 0) }),
    'lists every file',
  ],
  [
    'that has nothing to say of what is not there',
    {},
    (disk) => diskWith(disk, { read: (path, start, end) => disk.read(path, start, end).catch(() => new Uint8Array()) }),
    'error of the journal',
  ],
  [
    'that fails to remove what is not there',
    {},
    (disk) =>
      diskWith(disk, {
        remove: async (path) => {
          await disk.read(path, 0, 0)
          await disk.remove(path)
        },
      }),
    'removes a file',
  ],
  ['that writes on into what was removed', { takesIntoRemoved: true }, (disk) => disk, 'was removed'],
  [
    'that says too early that something is written',
    {},
    (disk) =>
      committing(disk, (file, bytes, at, written) => {
        written?.()
        return file.commit(bytes, at, written && (() => {}))
      }),
    'says once that',
  ],
]

test.each(BAD_DISKS)('the suite for the disks of journals finds one %s', async (_, lies, over, name) => {
  expect(await failingDisk(name, lies, over)).toHaveLength(1)
})
