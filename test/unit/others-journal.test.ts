import { execFileSync } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

test('who may read the store, and not the journals beside it, restores what is in the store', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root')
  const home = await mkdtemp(join(tmpdir(), 'others-journal-'))
  try {
    await chmod(home, 0o755)
    const store = `file:${home}/store`
    const database = new ModelDatabase()
    const journal = join(home, 'journal')
    const writer = await Tidemark.capture({ store, source: database, journal })
    await database.write({ kind: 'record', resource: 'users', id: '1' }, recordImage({ id: '1' }))
    await writer.close()
    execFileSync('chmod', ['-R', 'a+rX', join(home, 'store')])
    const own = join(home, 'own')
    await mkdir(own)
    await chown(own, 65_534, 65_534)
    process.seteuid?.(65_534)
    try {
      const reader = await Tidemark.open({ store })
      try {
        const { written } = await reader.restoreAt('latest', { target: own })
        expect(written).toBe(true)
        expect((await reader.status()).reachable.latest).not.toBeNull()
        expect(await reader.at('latest').get('users', '1')).toEqual({ id: '1' })
      } finally {
        await reader.close()
      }
    } finally {
      process.seteuid?.(0)
    }
  } finally {
    await rm(home, { recursive: true, force: true })
  }
})
