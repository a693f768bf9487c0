import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, expect, it } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const home = mkdtempSync(join(tmpdir(), 'fails-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** What keeps a database from being written, as its client says it. */
const CAUSES = [
  ['ENOSPC', 'TARGET_FULL'],
  ['EROFS', 'TARGET_DENIED'],
  ['ECONNRESET', 'TARGET_UNAVAILABLE'],
] as const

it.each(CAUSES)(
  'a restore in place that the database ends with %s says what is restored and how it goes on',
  async (code, told) => {
    const place = join(home, code)
    const db = new S3db({ connectionString: `memory://fails-${process.pid}-${code}`, logLevel: 'silent' })
    await db.connect()
    const put = db.client.putObject.bind(db.client)
    let left = Number.POSITIVE_INFINITY
    db.client.putObject = async (params) => {
      if (params.key.includes('/data/') && left-- <= 0)
        throw Object.assign(new Error('wrapped'), {
          original: Object.assign(new Error('the system said no'), { code }),
        })
      return put(params)
    }
    const tidemark = new TidemarkPlugin({ store: `file:${place}/store`, journal: join(place, 'journal') })
    await db.usePlugin(tidemark)
    const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
    for (const id of ['a', 'b', 'c']) await notes.insert({ id, n: 1 })
    await tidemark.flush()
    await new Promise((resolve) => setTimeout(resolve, 5))
    const before = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 5))
    for (const id of ['a', 'b', 'c']) await notes.delete(id)

    left = 1
    const failed: unknown = await tidemark
      .restoreAt(before, { target: 'live', overwrite: true })
      .catch((error) => error)
    expect(failed).toMatchObject({
      code: told,
      message: expect.stringContaining('It is restored in part.'),
      hint: expect.stringMatching(/the same restore again goes on from there, or take it back \(--to before:/),
    })
    left = Number.POSITIVE_INFINITY
    await tidemark.restoreAt(before, { target: 'live', overwrite: true })
    expect((await notes.listIds()).toSorted()).toEqual(['a', 'b', 'c'])
    await db.disconnect()
  },
)
