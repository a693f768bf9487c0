import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { encryptedLog } from '../../src/capture/encrypted-log.ts'
import { openFileLog } from '../../src/capture/file-log.ts'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { NodeDisk } from '../../src/capture/node-disk.ts'
import { openStoreLog, storeLogKey } from '../../src/capture/store-log.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import { SecretKey } from '../../src/store/encryption/store-key.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { STREAM, simpleFrame } from '../support/journal-frames.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'
import { FaultyStore } from '../support/stores.ts'
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

const secret = SecretKey.random()
const encrypted = (log: FrameLog): FrameLog => encryptedLog(log, secret, STREAM, true)

frameLogContract('encryption over memory', false, async () => ({ open: async () => encrypted(new MemoryLog()) }))

frameLogContract('encryption over files', true, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-log-'))
  directories.push(directory)
  const disk = new NodeDisk()
  return { open: async () => encrypted(await openFileLog({ disk, directory, stream: STREAM, maxFileBytes: 4096 })) }
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

test('encryption: no frame holds what is in it, and none opens by another key, in another place or after a change', async () => {
  const inner = new MemoryLog()
  const log = encrypted(inner)
  for (const number of [1, 2]) await log.append(simpleFrame(number, 500))
  const frames: Uint8Array[] = []
  for await (const frame of inner.read(1)) frames.push(Uint8Array.from(frame))
  for (const frame of frames) {
    expect(Buffer.from(frame).includes('record ')).toBe(false)
    expect(Buffer.from(frame).includes('vvvv')).toBe(false)
    expect(() => decodeFrame(frame)).toThrow(expect.objectContaining({ code: 'ENCRYPTION_KEY_NEEDED' }))
  }
  const read = async (stored: Uint8Array, key: SecretKey): Promise<unknown> => {
    const place = new MemoryLog()
    await place.append(stored)
    for await (const frame of encryptedLog(place, key, STREAM, true).read(0)) return decodeFrame(frame).number
    return null
  }
  const [first = new Uint8Array()] = frames
  expect(await read(first, secret)).toBe(1)
  await expect(read(first, SecretKey.random())).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
  // Every bit of what is authenticated, and of the body; the checksum in front of it is not looked at here.
  for (let at = 8; at < first.length; at += 7) {
    const changed = first.map((byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte))
    await expect(read(changed, secret), String(at)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
  }
})

test('encryption: frames from before it was switched on are read, and those after it was switched off are plain', async () => {
  const inner = new MemoryLog()
  await inner.append(simpleFrame(1))
  await encryptedLog(inner, secret, STREAM, true).append(simpleFrame(2))
  const off = encryptedLog(inner, secret, STREAM, false)
  await off.append(simpleFrame(3))
  const frames: string[] = []
  for await (const frame of off.read(1)) frames.push(Buffer.from(frame).toString('hex'))
  expect(frames).toEqual([1, 2, 3].map((number) => Buffer.from(simpleFrame(number)).toString('hex')))
})

test('a frame waits for a store that is away for ten minutes, and is there once; one that never comes back is told', async () => {
  const objects = new MemoryStore()
  const store = new FaultyStore(objects)
  let slept = 0
  const sleep = async (ms: number): Promise<void> => {
    slept += ms
  }
  const log = await openStoreLog(store, STREAM, { ...systemClock, sleep })
  await log.append(simpleFrame(1))
  // The first put arrives, and its answer does not.
  store.script = () => (slept === 0 ? 'after' : slept < 600_000 ? 'before' : null)
  await log.append(simpleFrame(2))
  expect(slept).toBeGreaterThanOrEqual(600_000)
  await log.append(simpleFrame(3))
  expect(log.range).toEqual({ first: 1, last: 3 })
  expect(await objects.get(storeLogKey(STREAM, 2))).toEqual(simpleFrame(2))
  store.script = () => 'before'
  await expect(log.append(simpleFrame(4))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
})
