import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { isMarkName } from '../../src/model/mark.ts'
import { jsonLines } from '../support/cli.ts'
import { inProcess } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const directory = mkdtempSync(join(tmpdir(), 'keeping-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0

/** A store with a record that is 1, 2 and 3; `at` are moments at which it is. */
async function history(): Promise<{ store: string; tidemark: Tidemark; at: (n: number) => string }> {
  const store = `file:${directory}/${++count}`
  const database = new ModelDatabase()
  const tidemark = await Tidemark.capture({ store, source: database, journal: `${directory}/journal-${count}` })
  const item = { kind: 'record', resource: 'users', id: 'u1' } as const
  for (const n of [1, 2, 3]) await database.write(item, recordImage({ n }))
  await tidemark.flush()
  const stamps: string[] = []
  for await (const { stamp } of tidemark.history('users', 'u1')) stamps.push(stamp.ulid)
  return { store, tidemark, at: (n) => stamps[n - 1] ?? '' }
}

test('a mark is a moment wherever one is: show, restore, status --at, hold, code', async () => {
  const { store, tidemark, at } = await history()
  const made = await inProcess(store, 'mark', 'release-7', '--at', at(2), '--json')
  expect(made, made.err).toMatchObject({ code: 0 })
  expect(JSON.parse(made.out)).toMatchObject({ name: 'release-7' })
  expect(await tidemark.at('release-7').get('users', 'u1')).toEqual({ n: 2 })
  expect((await inProcess(store, 'show', 'users/u1', '--at', 'release-7', '--json')).out).toContain('{"n":2}')
  const target = `${directory}/restored-${count}`
  expect(await inProcess(store, 'restore', '--to', 'release-7', '--target', target)).toMatchObject({ code: 0 })
  const verdict = await inProcess(store, 'status', '--at', 'release-7')
  expect(verdict).toMatchObject({ code: 0, out: expect.stringContaining('mark release-7') })
  expect(await tidemark.drill({ at: 'release-7' })).toMatchObject([{ passed: true }])
  const held = await inProcess(store, 'hold', 'add', `${at(1)}..release-7`, '--reason', 'case 12', '--json')
  const [mark] = (await tidemark.status()).marks
  expect(JSON.parse(held.out)).toMatchObject({ through: mark?.ulid, until: null, reason: 'case 12', by: null })
  await tidemark.close()
})

test('marks and holds survive the process, are told, and go when they are removed', async () => {
  const { store, tidemark, at } = await history()
  await tidemark.retention.mark('b')
  await tidemark.retention.mark('a', { at: at(1) })
  const given = { from: at(1), through: at(2), until: '2031-01-01T00:00:00Z', reason: 'audit', name: 'ann' }
  const { id } = await tidemark.retention.hold(given)
  await tidemark.close()
  const told = await inProcess(store, 'status')
  expect(told.out).toMatch(/marks\n.*\n.* a .*\n.* b /)
  expect(told.out).toMatch(new RegExp(`2031-01-01T00:00:00.000Z +${id} +audit +ann`))
  expect(jsonLines((await inProcess(store, 'mark', 'list', '--json')).out).map(({ name }) => name)).toEqual(['a', 'b'])
  expect(jsonLines((await inProcess(store, 'hold', 'list', '--json')).out)).toMatchObject([{ id, reason: 'audit' }])
  expect(await inProcess(store, 'mark', 'remove', 'a')).toMatchObject({ code: 0 })
  expect(await inProcess(store, 'hold', 'remove', id)).toMatchObject({ code: 0 })
  expect((await inProcess(store, 'mark', 'list')).out).not.toMatch(/ a /)
  expect((await inProcess(store, 'hold', 'list')).out).toBe('no holds\n')
  const gone = await inProcess(store, 'show', 'users/u1', '--at', 'a')
  expect(gone).toMatchObject({ code: 2, err: expect.stringContaining('there is no mark of that name') })
})

test('a name that means something else where a moment stands is refused, and so is one that is taken', async () => {
  const { tidemark, at } = await history()
  for (const name of [
    'latest',
    'Latest',
    'now',
    'before',
    'list',
    'remove',
    'random',
    '2026-11-19',
    '17',
    'a..b',
    'a b',
    '-a',
  ])
    expect([name, isMarkName(name)]).toEqual([name, false])
  expect(isMarkName(at(1).toLowerCase())).toBe(false)
  expect(isMarkName('01KAJ0QZX3N5V7E8T9RYBWDCFG')).toBe(false)
  expect(isMarkName('KAJ0QZX3N5V7E8T9RYBWDCFG01')).toBe(true)
  await expect(tidemark.retention.mark('now')).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await tidemark.retention.mark('deploy', { at: at(1) })
  await tidemark.retention.mark('deploy', { at: at(1) })
  await expect(tidemark.retention.mark('deploy', { at: at(2) })).rejects.toMatchObject({ code: 'MARK_EXISTS' })
  expect(await tidemark.at('deploy').get('users', 'u1')).toEqual({ n: 1 })
  await expect(tidemark.at('deploi').get('users', 'u1')).rejects.toMatchObject({
    code: 'MOMENT_INVALID',
    hint: expect.stringContaining('Did you mean deploy?'),
  })
  await expect(tidemark.retention.unmark('deploi')).rejects.toMatchObject({ code: 'MARK_NOT_FOUND' })
  await expect(tidemark.retention.release(at(1))).rejects.toMatchObject({ code: 'HOLD_NOT_FOUND' })
  await tidemark.close()
})

test('what cannot be reached is neither marked nor held, and an option that is wrong is told', async () => {
  const { tidemark, at } = await history()
  await expect(tidemark.retention.mark('early', { at: 1_000_000_000_000 })).rejects.toMatchObject({
    code: 'MOMENT_UNREACHABLE',
  })
  const reason = 'x'
  await expect(tidemark.retention.hold({ from: 1_000_000_000_000, reason })).rejects.toMatchObject({
    code: 'MOMENT_UNREACHABLE',
  })
  const wrong = [
    { from: at(2), through: at(1), reason },
    { from: at(2), reason: '' },
    { from: at(2), until: 'latest', reason },
    { from: at(2), until: at(3), reason },
    { from: at(2), reason, name: '' },
  ]
  for (const options of wrong)
    await expect(tidemark.retention.hold(options)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await expect(tidemark.retention.hold(Object.assign({ from: at(2), reason }, { to: 1 }))).rejects.toMatchObject({
    code: 'OPTION_INVALID',
  })
  expect((await tidemark.status()).holds).toEqual([])
  await tidemark.close()
})
