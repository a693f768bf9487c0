import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Resource, S3db } from 's3db.js/lite'
import { afterEach, describe, expect, it } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { createSource } from '../../src/s3db/source.ts'
import { RecordingSink } from '../support/recording-sink.ts'

const made: string[] = []
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})

interface Life {
  readonly db: S3db
  readonly tidemark: TidemarkPlugin
  readonly records: Resource
}

function place(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-ids-'))
  made.push(directory)
  return directory
}

async function live(directory: string): Promise<Life> {
  const db = new S3db({ connectionString: `file://${directory}/db`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal` })
  await db.usePlugin(tidemark)
  const records = db.resources.records ?? (await db.createResource({ name: 'records', attributes: { name: 'string' } }))
  return { db, tidemark, records }
}

function killedWriter(directory: string, what: 'insert' | 'delete', id: string): void {
  const script = join(import.meta.dirname, '../support/killed-writer.ts')
  const { signal, stderr } = spawnSync(process.execPath, [script, directory, what, JSON.stringify(id)])
  expect(signal, String(stderr)).toBe('SIGKILL')
}

/** A moment after everything that was written, or the reason why there is none. */
async function nameAt({ tidemark }: Life, id: string): Promise<unknown> {
  await tidemark.flush()
  const moment = Date.now()
  await expect.poll(() => Date.now()).toBeGreaterThan(moment)
  return (await tidemark.at(moment).get('records', id))?.name
}

const IMPOSSIBLE = ['x'.repeat(300), 'nul\0nul']

describe('an id that a file system cannot hold', () => {
  it('is settled as not written, and does not hold up the moments after it', async () => {
    const life = await live(place())
    await life.records.insert({ id: 'a', name: 'first' })
    for (const id of IMPOSSIBLE) await expect(life.records.insert({ id, name: 'x' })).rejects.toThrow()
    await life.records.update('a', { name: 'second' })
    expect(await nameAt(life, 'a')).toBe('second')
    for (const id of IMPOSSIBLE) expect(await nameAt(life, id)).toBeUndefined()
    await life.db.disconnect()
  })

  it('is settled where an earlier process left its intent', async () => {
    const directory = place()
    const first = await live(directory)
    await first.records.insert({ id: 'a', name: 'first' })
    await first.db.disconnect()
    for (const id of IMPOSSIBLE) killedWriter(directory, 'insert', id)
    const second = await live(directory)
    await second.records.update('a', { name: 'second' })
    expect(await nameAt(second, 'a')).toBe('second')
    await second.db.disconnect()
  })
})

it('a record whose id begins with U+FEFF stays deleted after a crash', async () => {
  const directory = place()
  const id = '\ufeffa'
  const first = await live(directory)
  await first.records.insert({ id, name: 'first' })
  await first.db.disconnect()
  killedWriter(directory, 'delete', id)
  const second = await live(directory)
  expect(await nameAt(second, id)).toBeUndefined()
  const actors: unknown[] = []
  for await (const { operation, context } of second.tidemark.history('records', id))
    actors.push([operation, context.actor])
  expect(actors).toEqual([
    ['insert', null],
    ['delete', 'killed'],
  ])
  await second.db.disconnect()
})

it('a refused insert is nobody’s event after a crash', async () => {
  const directory = place()
  const first = await live(directory)
  await first.tidemark.as({ actor: 'ann' }, () => first.records.insert({ id: 'a', name: 'first' }))
  await first.db.disconnect()
  killedWriter(directory, 'insert', 'a')
  const second = await live(directory)
  expect(await nameAt(second, 'a')).toBe('first')
  const actors: unknown[] = []
  for await (const { context } of second.tidemark.history('records', 'a')) actors.push(context.actor)
  expect(actors).toEqual(['ann'])
  await second.db.disconnect()
})

it('an id with half of a surrogate pair is refused before the database is touched', async () => {
  const life = await live(place())
  for (const id of ['\ud800', 'a\udc00b']) {
    const refused = expect.objectContaining({ code: 'SOURCE_UNSUPPORTED' })
    await expect(life.records.insert({ id, name: 'x' })).rejects.toThrow(/half of a surrogate pair/)
    const key = `resource=records/data/id=${id}`
    await expect(life.db.client.putObject({ key, body: 'x' })).rejects.toEqual(refused)
    await expect(life.db.client.copyObject({ from: 'x', to: key })).rejects.toEqual(refused)
    await life.db.client.deleteObject(key)
  }
  expect(await life.db.client.getAllKeys({ prefix: 'resource=records/data/' })).toEqual([])
  await life.records.insert({ id: '\u{1f600}', name: 'whole' })
  expect(await nameAt(life, '\u{1f600}')).toBe('whole')
  await life.db.disconnect()
})

it('a resource whose name is no text is refused before its schema is written', async () => {
  const life = await live(place())
  await expect(life.db.createResource({ name: 'half\ud800', attributes: { name: 'string' } })).rejects.toThrow(
    /half of a surrogate pair/,
  )
  expect(
    String(await life.db.client.getObject('s3db.json').then(({ Body }) => Body?.transformToString?.())),
  ).not.toMatch(/half/)
  await life.db.disconnect()
})

it('a database that holds such an id is not listed without it, and it can be deleted', async () => {
  const db = new S3db({ connectionString: `memory://half-${process.pid}`, logLevel: 'silent' })
  await db.connect()
  const key = 'resource=records/data/id=\ud800'
  await db.client.putObject({ key, body: 'x' })
  const source = createSource(db)
  const list = async (): Promise<number> => {
    let count = 0
    for await (const items of source.items(['records'])) count += items.length
    return count
  }
  await expect(list()).rejects.toThrow(/half of a surrogate pair/)
  const sink = new RecordingSink()
  const detach = source.attach(sink)
  await db.client.deleteAll({ prefix: 'resource=records/' })
  expect([await list(), sink.changes]).toEqual([0, []])
  detach()
})
