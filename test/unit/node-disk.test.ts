import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { NodeDisk } from '../../src/capture/node-disk.ts'

test.each([100, 1024 * 1024])(
  'what is said to be written is in the file for everybody, before the commit is over: %i bytes',
  async (size) => {
    const home = await mkdtemp(join(tmpdir(), 'disk-'))
    try {
      const path = join(home, '1')
      const file = await new NodeDisk().open(path)
      const bytes = Buffer.alloc(size, 'x')
      const found: string[] = []
      await file.commit(bytes, 3, () => found.push(readFileSync(path, 'latin1')))
      expect(found).toEqual(['\0'.repeat(3) + bytes.toString('latin1')])
      await file.close()
    } finally {
      await rm(home, { recursive: true })
    }
  },
)
