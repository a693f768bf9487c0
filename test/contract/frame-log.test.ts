import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openFileLog } from '../../src/capture/file-log.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { NodeDisk } from '../../src/capture/node-disk.ts'
import { openStoreLog, storeLogKey } from '../../src/capture/store-log.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { STREAM, simpleFrame } from '../support/journal-frames.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'
import { frameLogContract } from './frame-log.ts'

const directories: string[] = []
afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true, force: true })
})

frameLogContract('memory', false, async () => ({ open: async () => new MemoryLog() }))

frameLogContract('store', true, async () => {
  const store = new MemoryStore()
  return { open: () => openStoreLog(store, STREAM) }
})

frameLogContract('files', true, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-log-'))
  directories.push(directory)
  const disk = new NodeDisk()
  return { open: () => openFileLog({ disk, directory, stream: STREAM, maxFileBytes: 4096 }) }
})

frameLogContract('files on the simulated disk', true, async () => {
  let disk = new SimulatedDisk({ seed: 1 })
  return {
    open: () => {
      disk = new SimulatedDisk({ seed: 1 }, disk.contents())
      return openFileLog({ disk, directory: 'journal', stream: STREAM, maxFileBytes: 4096 })
    },
  }
})

test('store: the second of two processes that write one stream is fenced', async () => {
  const store = new MemoryStore()
  const [one, two] = [await openStoreLog(store, STREAM), await openStoreLog(store, STREAM)]
  await one.append(simpleFrame(1))
  await expect(two.append(simpleFrame(1, 99))).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  // A put whose answer was lost meets its own frame.
  await expect(two.append(simpleFrame(1))).resolves.toBe(undefined)
})

test('store: a missing or a damaged frame is corrupt, never skipped', async () => {
  const store = new MemoryStore()
  const log = await openStoreLog(store, STREAM)
  for (let number = 1; number <= 9; number++) await log.append(simpleFrame(number))
  await store.delete([storeLogKey(STREAM, 4)])
  await expect(openStoreLog(store, STREAM)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
  await store.put(storeLogKey(STREAM, 4), simpleFrame(5))
  const again = await openStoreLog(store, STREAM)
  const reading = (async () => {
    for await (const _ of again.read(1));
  })()
  await expect(reading).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
})
