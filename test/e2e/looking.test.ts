import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { fingerprint, jsonLines, type Run } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { openDatabase } from '../support/s3db.ts'

const directory = mkdtempSync(join(tmpdir(), 'looking-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const app = `file://${directory}/app`
const run = (...args: string[]): Promise<Run> =>
  tidemark(directory, args, { TIDEMARK_STORE: `file:${directory}/store` })
const restore = (...args: string[]): Promise<Run> => run('restore', '--to', 'latest', ...args)

beforeAll(async () => {
  const { db } = await openDatabase(app)
  await db.usePlugin(new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal` }))
  const users = await db.createResource({ name: 'users', attributes: { id: 'string|optional', name: 'string' } })
  for (const id of ['ann', 'bob', 'cid']) await users.insert({ id, name: id })
  await db.createResource({ name: 'orders', attributes: { id: 'string|optional' } })
  await db.disconnect()
})

/** The files under a path, and the directories: an empty one is something that was made. */
async function tree(path: string): Promise<unknown> {
  return [readdirSync(path, { recursive: true }).sort(), await fingerprint(path)]
}

function errorOf({ err }: Run): { code: string; message: string; hint: string } {
  const [line] = jsonLines(err) as [{ error: { code: string; message: string; hint: string } }]
  return line.error
}

describe('looking at a database leaves it as it is', () => {
  test('where there is none, nothing is made by a dry run', async () => {
    const before = await tree(directory)
    const { code, out } = await restore('--target', `file://${directory}/copy`, '--dry-run', '--json')
    expect(code).toBe(0)
    expect(jsonLines(out)).toMatchObject([{ written: false, preview: { added: 6 } }])
    expect(await tree(directory)).toEqual(before)
  })

  test('a damaged s3db.json is not repaired by who looks, nor is one made that is missing', async () => {
    const schemas = join(directory, 'app/s3db.json')
    const whole = readFileSync(schemas)
    for (const spoil of [() => writeFileSync(schemas, '{"version":'), () => rmSync(schemas)]) {
      spoil()
      const before = await tree(join(directory, 'app'))
      expect((await restore('--target', app, '--dry-run')).code).toBe(0)
      expect((await restore('--target', app)).code).toBe(5)
      expect([0, 9]).toContain((await run('reconcile', '--source', app)).code)
      expect(await tree(join(directory, 'app'))).toEqual(before)
    }
    writeFileSync(schemas, whole)
  })

  test('a dry run of the plugin into another database makes nothing there either', async () => {
    const { db } = await openDatabase(`file://${directory}/second`)
    const plugin = new TidemarkPlugin({
      store: `file:${directory}/second-store`,
      journal: `${directory}/second-journal`,
    })
    await db.usePlugin(plugin)
    await db.createResource({ name: 'notes', attributes: { id: 'string|optional' } })
    await plugin.flush()
    const target = `file://${directory}/second-copy`
    await plugin.restoreAt('latest', { target, dryRun: true })
    expect(readdirSync(directory)).not.toContain('second-copy')
    await plugin.restoreAt('latest', { target })
    expect(readdirSync(join(directory, 'second-copy'))).toContain('s3db.json')
    await db.disconnect()
  })

  test('and what is restored there afterwards is whole', async () => {
    const target = `file://${directory}/filled`
    expect((await restore('--target', target)).code).toBe(0)
    const { db } = await openDatabase(target)
    expect(Object.keys(db.resources).sort()).toEqual(['orders', 'users'])
    const users = await db.getResource('users')
    expect((await users.listIds()).sort()).toEqual(['ann', 'bob', 'cid'])
    await db.disconnect()
  })
})

describe('a name that nobody has is an error, and the nearest are told', () => {
  test.each([
    ['a resource', ['--target', './none', '--resource', 'usres'], 'RESOURCE_NOT_FOUND', 'usres', 'users'],
    ['an id', ['--target', './none', '--resource', 'users', '--id', 'anne'], 'RECORD_NOT_FOUND', 'anne', 'ann'],
    [
      'one of two ids',
      ['--target', './none', '--resource', 'users', '--id', 'ann', 'bbo'],
      'RECORD_NOT_FOUND',
      'bbo',
      'bob',
    ],
    [
      'an id in the wrong case',
      ['--target', app, '--resource', 'users', '--id', 'Ann', '--yes'],
      'RECORD_NOT_FOUND',
      'Ann',
      'ann',
    ],
    [
      'an id, into a database',
      ['--target', `file://${directory}/none`, '--resource', 'users', '--id', 'anne'],
      'RECORD_NOT_FOUND',
      'anne',
      'ann',
    ],
  ])('%s of a restore', async (_, args, code, unknown, near) => {
    const result = await restore(...args, '--json')
    expect([result.code, errorOf(result).code]).toEqual([3, code])
    expect(errorOf(result).message).toContain(unknown)
    expect(errorOf(result).message).not.toMatch(/\bann\b|\bbob\b/)
    expect(errorOf(result).hint).toContain(`Did you mean ${near}?`)
    expect(readdirSync(directory)).not.toContain('none')
  })

  test('more ids than are looked up one by one', async () => {
    const many = Array.from({ length: 40 }, (_, i) => `x${i}`)
    const result = await restore('--target', './none', '--resource', 'users', '--json', '--id', 'ann', ...many)
    expect(errorOf(result).message).toMatch(/x0.* and 35 more/)
  })

  test('a record that only the live database has is taken away by its id', async () => {
    const { db } = await openDatabase(`file://${directory}/filled`)
    await (await db.getResource('users')).insert({ id: 'dan', name: 'dan' })
    await db.disconnect()
    const args = ['--target', `file://${directory}/filled`, '--resource', 'users', '--id', 'dan', '--yes', '--json']
    expect(jsonLines((await restore(...args)).out)).toMatchObject([{ preview: { removed: 1 } }])
  })

  test('a record that is shown or logged', async () => {
    expect(errorOf(await run('show', 'users/anne', '--json')).hint).toContain('Did you mean users/ann?')
    expect(errorOf(await run('log', 'users/anne', '--json')).hint).toContain('Did you mean users/ann?')
    const typo = errorOf(await run('log', 'usres/ann', '--json'))
    expect([typo.code, typo.hint]).toEqual(['RESOURCE_NOT_FOUND', expect.stringContaining('Did you mean users?')])
  })

  test('a resource or a database that is to be compared: no all-clear, and nothing is made', async () => {
    const typo = await run('reconcile', '--source', app, '--resource', 'user', '--json')
    expect([typo.code, errorOf(typo).code]).toEqual([3, 'RESOURCE_NOT_FOUND'])
    expect(errorOf(typo).hint).toContain('Did you mean users?')
    const before = await tree(directory)
    for (const more of [[], ['--record', '--yes']]) {
      const gone = await run('reconcile', '--source', `file://${directory}/ap`, '--json', ...more)
      expect([gone.code, gone.out]).toEqual([2, ''])
      expect(errorOf(gone).message).toContain(`file://${directory}/ap`)
      expect(errorOf(gone).hint).toContain(app)
    }
    expect((await run('reconcile', '--source', `file://${directory}/ap`, '--record')).code).toBe(5)
    expect(await tree(directory)).toEqual(before)
  })

  test('a database in memory, which nobody could read afterwards', async () => {
    const into = await restore('--target', 'memory://shop', '--json')
    expect([into.code, errorOf(into).code]).toEqual([2, 'TARGET_INVALID'])
    expect((await run('reconcile', '--source', 'memory://shop', '--json')).code).toBe(2)
  })

  test('the database of the history, emptied, is compared: everything was removed', async () => {
    rmSync(join(directory, 'app'), { recursive: true })
    mkdirSync(join(directory, 'app'))
    const { code, out } = await run('reconcile', '--source', app, '--json')
    expect(code).toBe(9)
    expect(jsonLines(out).at(-1)).toMatchObject({ removed: 6 })
    expect(readdirSync(join(directory, 'app'))).toEqual([])
  })
})
