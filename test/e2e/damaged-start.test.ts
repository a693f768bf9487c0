import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { repairStore } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'damaged-start-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

async function start(): Promise<{ db: S3db; tidemark: TidemarkPlugin }> {
  const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal` })
  const db = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent', plugins: [tidemark] })
  await db.connect()
  return { db, tidemark }
}

async function insert(db: S3db, ids: readonly string[]): Promise<void> {
  const notes = db.resources.notes ?? (await db.createResource({ name: 'notes', attributes: { n: 'string' } }))
  for (const id of ids) await notes.insert({ id, n: `of ${id}` })
}

const DAMAGE: Readonly<Record<string, (timeline: string) => void>> = {
  'a last generation that does not read': (timeline) => {
    const last = join(timeline, readdirSync(timeline).sort().at(-1) ?? '')
    const bytes = readFileSync(last)
    bytes.writeUInt8((bytes[bytes.length >> 1] ?? 0) ^ 255, bytes.length >> 1)
    writeFileSync(last, bytes)
  },
  'a catalogue that is gone': (timeline) => rmSync(timeline, { recursive: true }),
}

test.each(Object.keys(DAMAGE))(
  'an application starts on a store with %s, and after the repair nothing of it is missing',
  async (what) => {
    const first = await start()
    await insert(first.db, ['a', 'b'])
    await first.db.disconnect()
    DAMAGE[what]?.(`${home}/store/timeline`)

    const second = await start()
    await insert(second.db, ['c', 'd'])
    await expect(second.tidemark.flush()).rejects.toMatchObject({
      code: 'TIMELINE_CORRUPT',
      hint: expect.stringContaining('tidemark repair'),
    })
    await expect(second.tidemark.restoreAt('latest', { target: `file:${home}/early` })).rejects.toThrow()
    const report = await repairStore(`file:${home}/store`, { apply: true })
    expect(report.generation).not.toBeNull()
    await second.tidemark.flush()
    for (const id of ['a', 'b', 'c', 'd']) {
      const images: unknown[] = []
      for await (const { after } of second.tidemark.history('notes', id)) {
        images.push(JSON.parse(Buffer.from(after?.json ?? []).toString()))
      }
      expect(images, id).toEqual([{ id, n: `of ${id}` }])
    }
    await second.db.disconnect()
  },
)

test('the first start on a store with a damaged catalogue is refused: nothing is known of it here', async () => {
  const first = await start()
  await insert(first.db, ['a'])
  await first.db.disconnect()
  DAMAGE['a last generation that does not read']?.(`${home}/store/timeline`)
  rmSync(`${home}/journal`, { recursive: true })
  await expect(start()).rejects.toThrow(/timeline file .* is damaged/)
})
