import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

test('much that is waiting becomes several segments of bounded size, and nothing is lost between them', async () => {
  const home = mkdtempSync(join(tmpdir(), 'sealer-'))
  try {
    const database = new ModelDatabase()
    const tidemark = await Tidemark.capture({
      store: `file:${home}/store`,
      journal: `${home}/journal`,
      source: database,
      seal: { bytes: 1000, ageMs: 3_600_000 },
    })
    await tidemark.flush()
    const ids = Array.from({ length: 400 }, (_, n) => `n${n}`)
    for (let at = 0; at < ids.length; at += 4) {
      const some = ids.slice(at, at + 4)
      await Promise.all(
        some.map((id) =>
          database.write({ kind: 'record', resource: 'r', id }, recordImage({ id, text: 'x'.repeat(200) })),
        ),
      )
    }
    await tidemark.close()
    const reader = await Tidemark.open({ store: `file:${home}/store` })
    const { segments, gaps } = await reader.status()
    expect(segments.events).toBe(400)
    expect(segments.count).toBeGreaterThan(15) // 400 events of 300 bytes, at most about 4,000 bytes and a frame in one
    expect(gaps).toEqual([])
    expect(await reader.at('latest').count('r')).toBe(400)
    expect((await reader.verify()).damage).toEqual([])
    await reader.close()
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
