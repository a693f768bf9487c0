import { expect, test } from 'vitest'
import { openFileLog } from '../../src/capture/file-log.ts'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { STREAM, simpleFrame } from '../support/journal-frames.ts'
import { TreeDisk } from '../support/simulated-disk.ts'
import { SimulatedTree } from '../support/simulated-tree.ts'

const DIRECTORY = '/journal'

function machine(): SimulatedTree {
  return new SimulatedTree(new Map([[`${DIRECTORY}/lock`, Buffer.alloc(0)]]))
}

function open(tree: SimulatedTree): Promise<FrameLog> {
  return openFileLog({ disk: new TreeDisk(tree), directory: DIRECTORY, stream: STREAM, maxFileBytes: 4096 })
}

async function frames(log: FrameLog): Promise<number> {
  let count = 0
  for await (const _ of log.read(1)) count++
  return count
}

test('a frame that a killed process left unsynced is durable once another was appended to it', async () => {
  for (const killedAt of [1, 4]) {
    for (let seed = 1; seed <= 20; seed++) {
      const first = machine()
      const log = await open(first)
      for (let number = 1; number < killedAt; number++) await log.append(simpleFrame(number))
      first.arm({ place: 'journal sync', nth: 0 })
      await expect(log.append(simpleFrame(killedAt))).rejects.toThrow('power cut')
      const second = first.afterKill()
      const after = await open(second)
      expect(after.range?.last).toBe(killedAt)
      await after.append(simpleFrame(killedAt + 1))
      expect(await frames(await open(second.afterPowerCut(seed)))).toBe(killedAt + 1)
    }
  }
})

test('a file that a killed process made ahead is durable once it is written to', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const first = machine()
    first.arm({ place: 'journal directory sync', nth: 0 })
    await expect(open(first)).rejects.toThrow('power cut')
    const second = first.afterKill()
    await (await open(second)).append(simpleFrame(1))
    expect(await frames(await open(second.afterPowerCut(seed)))).toBe(1)
  }
})
