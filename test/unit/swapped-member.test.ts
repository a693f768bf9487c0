import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
let tidemark: Tidemark
const database = { current: new ModelDatabase() }
const item = (id: string) => ({ kind: 'record', resource: 'accounts', id }) as const

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'swapped-'))
  database.current = new ModelDatabase()
  for (let i = 0; i < 50; i++) database.current.put(item(`a${i}`), recordImage({ id: `a${i}`, balance: 100 }))
  tidemark = await Tidemark.capture({
    store: `file:${home}/store`,
    journal: `${home}/journal`,
    source: database.current,
  })
  await tidemark.flush()
})
afterEach(async () => {
  await tidemark.close()
  rmSync(home, { recursive: true, force: true })
})

/** Another content in a file of the same length, which inflates: only a hash tells it from what was written. */
function swap(path: string): void {
  const old = readFileSync(path)
  const body = gzipSync(gunzipSync(old).toString().replace('"balance":100', '"balance":999'), { level: 9 })
  const pad = old.length - body.length
  expect(pad).toBeGreaterThan(1)
  // A comment in the header of the gzip member.
  const flags = Buffer.from([(body[3] ?? 0) | 0x10])
  const comment = Buffer.concat([Buffer.alloc(pad - 1, 0x20), Buffer.from([0])])
  writeFileSync(path, Buffer.concat([body.subarray(0, 3), flags, body.subarray(4, 10), comment, body.subarray(10)]))
  expect(readFileSync(path)).toHaveLength(old.length)
}

const snapshots = (): string[] => readdirSync(`${home}/store/snapshot`).sort()
const fileOf = (snapshot: string): string => join(home, 'store', 'snapshot', snapshot, 'accounts.jsonl.gz')

test('a member that was replaced by another of the same length is given to nobody', async () => {
  swap(fileOf(snapshots()[0] ?? ''))
  const damaged = { code: 'SNAPSHOT_CORRUPT', message: expect.stringContaining('accounts.jsonl.gz') }
  await expect(tidemark.at('latest').get('accounts', 'a0')).rejects.toMatchObject(damaged)
  await expect(tidemark.restoreAt('latest', { target: `${home}/out` })).rejects.toMatchObject(damaged)
  expect(readdirSync(home)).not.toContain('out')
  await database.current.write(item('a0'), recordImage({ id: 'a0', balance: 7 }))
  await expect(tidemark.snapshot()).rejects.toMatchObject(damaged)
  // Nor is it carried over, unread, from one snapshot to the next.
  await database.current.write(item('a0'), recordImage({ id: 'a0', balance: 100 }))
  await database.current.write({ ...item('b'), resource: 'others' }, recordImage({ id: 'b' }))
  await expect(tidemark.snapshot()).rejects.toMatchObject(damaged)
  const [proof] = await tidemark.drill({ at: 'latest' })
  expect(proof).toMatchObject({ passed: false, failure: { code: 'SNAPSHOT_CORRUPT' } })
})

test('a directory that was restored is checked by the same hashes when it is read', async () => {
  await tidemark.restoreAt('latest', { target: `${home}/out` })
  swap(join(home, 'out', 'accounts.jsonl.gz'))
  const over = { target: `${home}/out`, overwrite: true, dryRun: true }
  await expect(tidemark.restoreAt('latest', over)).rejects.toMatchObject({ code: 'SNAPSHOT_CORRUPT' })
})

test('a drill with two snapshots reckons from the other one, so that damage of either fails it', async () => {
  await database.current.write(item('a0'), recordImage({ id: 'a0', balance: 7 }))
  await tidemark.flush()
  await tidemark.snapshot()
  const [before] = await tidemark.drill({ at: 'latest' })
  expect(before).toMatchObject({ passed: true })
  expect(before?.plan.reckonedFrom).not.toBe(before?.plan.snapshot)
  for (const snapshot of snapshots()) {
    const whole = readFileSync(fileOf(snapshot))
    swap(fileOf(snapshot))
    const [proof] = await tidemark.drill({ at: 'latest' })
    expect(proof).toMatchObject({ passed: false, failure: { code: 'SNAPSHOT_CORRUPT' } })
    writeFileSync(fileOf(snapshot), whole)
  }
})
