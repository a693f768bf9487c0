import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { S3db } from 's3db.js/lite'
import { afterAll, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const home = mkdtempSync(join(tmpdir(), 'unmounted-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** What stands where a disk was: an empty mount point, or nothing. */
const LEFT: readonly [string, (path: string) => void][] = [
  ['an empty mount point', (path) => mkdirSync(path)],
  ['nothing', () => {}],
]

describe.each(LEFT)('the disk of a store is unmounted while an application writes, and leaves %s', (name, leave) => {
  it('nothing is made there, nothing is promised, and all that was acknowledged is in the store once it is back', async () => {
    const path = join(home, name.replaceAll(' ', '-'))
    const [store, disk] = [join(path, 'store'), join(path, 'disk')]
    mkdirSync(path)
    const db = new S3db({ connectionString: `file://${path}/db`, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin({
      store: `file:${store}`,
      journal: join(path, 'journal'),
      seal: { ageMs: 50 },
      logger: pino({ level: 'silent' }),
    })
    await db.usePlugin(tidemark)
    const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
    const ids = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const id of ids.slice(0, 3)) await notes.insert({ id, n: 1 })
    await tidemark.flush()

    renameSync(store, disk)
    leave(store)
    for (const id of ids.slice(3)) await notes.insert({ id, n: 1 })
    const gone = { code: 'STORE_UNAVAILABLE', message: expect.stringContaining('has gone away') }
    await expect(tidemark.flush()).rejects.toMatchObject(gone)
    await expect(tidemark.reachable(Date.now())).rejects.toMatchObject(gone)
    expect(existsSync(store) ? readdirSync(store) : []).toEqual([])

    rmSync(store, { recursive: true, force: true })
    renameSync(disk, store)
    await tidemark.flush()
    await db.disconnect()
    const read = await Tidemark.open({ store: `file:${store}` })
    for (const id of ids) expect(await read.at('latest').get('notes', id), id).toMatchObject({ n: 1 })
    expect((await read.verify()).damage).toEqual([])
  })
})
