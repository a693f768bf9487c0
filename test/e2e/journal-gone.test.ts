import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'journal-gone-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

test.each(['file', 'memory'])(
  'nothing is acknowledged into a journal that was removed while the process writes: %s://',
  async (kind) => {
    // It is closed at the end, with a journal that is gone: nobody waits for that.
    const seal = { closeMs: 200 }
    const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, seal })
    const connectionString = kind === 'file' ? `file://${home}/db` : `memory://journal-gone-${process.pid}/db`
    const db = new S3db({ connectionString, logLevel: 'silent', plugins: [tidemark] })
    await db.connect()
    const notes = await db.createResource({ name: 'notes', attributes: { n: 'string' } })
    await notes.insert({ id: 'before', n: 'x' })
    await tidemark.flush()
    rmSync(`${home}/journal`, { recursive: true })
    const outcomes: string[] = []
    // One write may have been done, and is not acknowledged; the others are refused before they touch the database.
    for (const id of ['a', 'b', 'c']) {
      const write = notes.insert({ id, n: 'y' }).then(
        () => 'acknowledged',
        (error: unknown) => (error instanceof Error ? error.message : 'no error'),
      )
      outcomes.push(await Promise.race([write, new Promise<string>((resolve) => setTimeout(resolve, 2000, 'waits'))]))
    }
    expect(outcomes).not.toContain('acknowledged')
    expect(outcomes.slice(1).join()).toMatch(/journal/i)
    const reader = await Tidemark.open({ store: `file:${home}/store` })
    await expect(reader.reachable('latest')).resolves.toMatchObject({ verdict: 'no' })
    await reader.close()
    await db.disconnect().catch(() => undefined)
  },
)
