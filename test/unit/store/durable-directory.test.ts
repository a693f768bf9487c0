import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { FilesystemStore } from '../../../src/store/filesystem.ts'
import { makeDirectory } from '../../../src/store/filesystem-tree.ts'
import { TreeFiles } from '../../support/simulated-files.ts'
import { SimulatedTree } from '../../support/simulated-tree.ts'

test('a directory with all those above it that were missing is there after a power cut', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const tree = new SimulatedTree()
    await makeDirectory(new TreeFiles(tree), '/app/.tidemark/store')
    const after = new TreeFiles(tree.afterPowerCut(seed))
    expect((await after.look('/app/.tidemark/store')).kind).toBe('directory')
  }
})

test('the root of a store that a killed process has just made outlasts a power cut', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const first = new SimulatedTree()
    await new TreeFiles(first).makeDirectory('/root')
    const second = first.afterKill()
    await new FilesystemStore('/root', systemClock, new TreeFiles(second)).put('a', Buffer.from('kept'))
    const third = new TreeFiles(second.afterPowerCut(seed))
    const bytes = await new FilesystemStore('/root', systemClock, third).get('a')
    expect(Buffer.from(bytes).toString()).toBe('kept')
  }
})
