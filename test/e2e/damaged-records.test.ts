import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Resource, S3db } from 's3db.js/lite'
import { afterEach, describe, expect, it } from 'vitest'
import type { Event } from '../../src/model/event.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const made: string[] = []
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** What can happen to the two files of a record. */
const DAMAGE: Readonly<Record<string, (body: string) => void>> = {
  'an empty metadata file': (body) => writeFileSync(`${body}.meta.json`, ''),
  'a metadata file that ends early': (body) =>
    writeFileSync(`${body}.meta.json`, readFileSync(`${body}.meta.json`).subarray(0, 40)),
  'a directory in the place of its body': (body) => {
    rmSync(body)
    mkdirSync(body)
  },
}
/** s3db.js can neither list nor delete what is left there. */
const IN_ITS_PLACE = 'a directory in the place of its body'

class Life {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'tidemark-damaged-'))
  readonly db: S3db
  readonly tidemark: TidemarkPlugin
  #records: Resource | null = null

  constructor() {
    made.push(this.directory)
    this.db = new S3db({ connectionString: `file://${this.directory}/db`, logLevel: 'silent' })
    const journal = `${this.directory}/journal`
    this.tidemark = new TidemarkPlugin({ store: `file:${this.directory}/store`, journal })
  }

  static async begin(captured = true): Promise<Life> {
    const life = new Life()
    await life.db.connect()
    if (captured) await life.db.usePlugin(life.tidemark)
    const attributes = { name: 'string' }
    life.#records = await life.db.createResource({ name: 'records', attributes, paranoid: false })
    await life.records.insertMany(['a', 'b', 'c'].map((id) => ({ id, name: `first ${id}` })))
    return life
  }

  get records(): Resource {
    if (this.#records === null) throw new Error('not begun')
    return this.#records
  }

  damage(id: string, how: (body: string) => void): void {
    how(this.body(id))
  }

  body(id: string): string {
    return join(this.directory, `db/resource=records/data/id=${id}`)
  }

  async history(id: string): Promise<[operation: string, before: unknown, after: unknown][]> {
    const seen: [string, unknown, unknown][] = []
    for await (const event of this.tidemark.history('records', id)) seen.push(shown(event))
    return seen
  }

  /** A moment after everything so far and before everything that comes. */
  async moment(): Promise<number> {
    await this.tidemark.flush()
    const moment = Date.now()
    await expect.poll(() => Date.now()).toBeGreaterThan(moment)
    return moment
  }
}

function shown({ operation, before, after }: Event): [string, unknown, unknown] {
  const name = (json: Uint8Array | undefined): unknown => {
    if (json === undefined) return null
    const value = JSON.parse(Buffer.from(json).toString())
    return '_unreadable' in value ? typeof value._unreadable.reason : value.name
  }
  return [operation, name(before?.json), name(after?.json)]
}

const UNREADABLE = 'string' // the reason

describe.each(Object.entries(DAMAGE))('a record with %s', (name, how) => {
  const replaceable = name !== IN_ITS_PLACE

  it.runIf(replaceable)('can be replaced, and the history says what was not known', async () => {
    const life = await Life.begin()
    life.damage('a', how)
    await life.records.replace('a', { name: 'second' })
    expect((await life.records.get('a')).name).toBe('second')
    expect(await life.history('a')).toEqual([
      ['insert', null, 'first a'],
      ['update', 'first a', UNREADABLE],
      ['update', UNREADABLE, 'second'],
    ])
    await life.db.disconnect()
  })

  it('can be deleted wherever s3db.js deletes it', async () => {
    const bare = await Life.begin(false)
    const life = await Life.begin()
    for (const { records, db } of [bare, life]) {
      for (const id of ['a', 'b']) (db === life.db ? life : bare).damage(id, how)
      await db.client.deleteObject('resource=records/data/id=a')
      await db.client.deleteObjects(['resource=records/data/id=b', 'resource=records/data/id=c'])
      await records.deleteAll()
    }
    for (const id of ['a', 'b', 'c']) expect(existsSync(life.body(id))).toBe(existsSync(bare.body(id)))
    const [, found, deleted] = await life.history('a')
    expect(found).toEqual(['update', 'first a', UNREADABLE])
    expect(deleted?.slice(0, 2)).toEqual(['delete', UNREADABLE])
    for (const { db } of [bare, life]) await db.disconnect()
  })

  it('is refused where s3db.js refuses it too, with the same error', async () => {
    const outcomes: unknown[] = []
    for (const captured of [false, true]) {
      const life = await Life.begin(captured)
      life.damage('a', how)
      const failure = (error: unknown): string => (error instanceof Error ? error.name : String(error))
      outcomes.push(
        await Promise.all([
          life.records.patch('a', { name: 'x' }).then(() => 'done', failure),
          life.records.insert({ id: 'a', name: 'x' }).then(() => 'done', failure),
        ]),
      )
      await life.db.disconnect()
    }
    expect(outcomes[1]).toEqual(outcomes[0])
  })

  it('is reported by reconcile as changed', async () => {
    const life = await Life.begin()
    await life.tidemark.flush()
    life.damage('a', how)
    const { changed, removed, recorded } = await life.tidemark.reconcile({ record: true })
    expect({ changed, removed, recorded }).toEqual({ changed: 1, removed: 0, recorded: 1 })
    expect(await life.history('a')).toEqual([
      ['insert', null, 'first a'],
      ['update', 'first a', UNREADABLE],
    ])
    await life.db.disconnect()
  })

  it.runIf(replaceable)('is repaired by a restore in place', async () => {
    const life = await Life.begin()
    const before = await life.moment()
    life.damage('a', how)
    await life.tidemark.restoreAt(before, { target: 'live', overwrite: true })
    expect((await life.records.get('a')).name).toBe('first a')
    expect((await life.history('a')).at(-1)).toEqual(['update', UNREADABLE, 'first a'])
    await life.db.disconnect()
  })

  it('is no state that a restore puts back, and the restore says so', async () => {
    const life = await Life.begin()
    life.damage('a', how)
    await life.tidemark.reconcile({ record: true })
    const torn = await life.moment()
    rmSync(life.body('a'), { recursive: true })
    await life.records.deleteAll()
    await life.records.insert({ id: 'a', name: 'repaired' })
    const { unreadable, written } = await life.tidemark.restoreAt(torn, { target: 'live', overwrite: true })
    expect({ unreadable, written }).toEqual({
      unreadable: [{ kind: 'record', resource: 'records', id: 'a' }],
      written: true,
    })
    const names = await Promise.all(['a', 'b', 'c'].map(async (id) => (await life.records.get(id)).name))
    expect(names).toEqual(['repaired', 'first b', 'first c'])
    expect(await life.tidemark.at(torn).get('records', 'a')).toMatchObject({ _unreadable: {} })
    await life.db.disconnect()
  })

  it('does not stop a baseline', async () => {
    const life = await Life.begin(false)
    life.damage('a', how)
    await life.db.usePlugin(life.tidemark)
    let now = 0
    const read = async (): Promise<unknown> => {
      now = await life.moment()
      return (await life.tidemark.at(now).get('records', 'b'))?.name
    }
    // The baseline is taken beside the writes.
    await expect.poll(() => read().catch(() => null), { timeout: 30_000 }).toBe('first b')
    expect((await life.tidemark.at(now).get('records', 'a'))?.name).toBeUndefined()
    await life.db.disconnect()
  })
})

it('a damaged s3db.json can be written again', async () => {
  const life = await Life.begin()
  writeFileSync(join(life.directory, 'db/s3db.json'), '{"resources":')
  await life.db.uploadMetadataFile()
  await life.records.insert({ id: 'd', name: 'later' })
  const now = await life.moment()
  expect((await life.tidemark.at(now).get('records', 'd'))?.name).toBe('later')
  await life.db.disconnect()
})

it('a database that does not answer still stops the write', async () => {
  const life = await Life.begin()
  const { client } = life.db
  const { getObject } = client
  client.getObject = async () => Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
  await expect(client.putObject({ key: 'resource=records/data/id=a', body: 'x' })).rejects.toThrow('reset')
  client.getObject = getObject
  expect((await life.records.get('a')).name).toBe('first a')
  await life.db.disconnect()
})
