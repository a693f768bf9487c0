import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { tidemark } from '../support/cli.ts'
import { openDatabase } from '../support/s3db.ts'
import { SCHEMA_KEY } from '../support/stored-state.ts'

const directory = mkdtempSync(join(tmpdir(), 'killed-restore-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const SCRIPT = join(import.meta.dirname, '../support/in-place-restorer.ts')

function run(home: string, ...args: readonly string[]): { signal: string | null; told: Record<string, unknown> } {
  const { signal, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, home, ...args], { encoding: 'utf8' })
  if (signal === null && !stdout.startsWith('{')) throw new Error(stderr)
  return { signal, told: stdout === '' ? {} : JSON.parse(stdout) }
}

/** Every stored object by key; of the schemas, not when they were written. */
async function treeOf(home: string): Promise<Record<string, unknown>> {
  const { db, stored } = await openDatabase(`file://${home}/db`)
  const tree = await stored()
  await db.disconnect()
  return Object.fromEntries(
    [...tree].sort().map(([key, { body, metadata, contentType }]) => {
      const text = Buffer.from(body).toString()
      const { lastUpdated: _, ...schemas } = key === SCHEMA_KEY ? JSON.parse(text) : {}
      return [key, key === SCHEMA_KEY ? schemas : { text, metadata, contentType }]
    }),
  )
}

async function unfinished(home: string): Promise<readonly unknown[]> {
  const history = await Tidemark.open({ store: `file:${home}/store` })
  const { epochs } = await history.status()
  await history.close()
  return epochs.flatMap(({ restoring }) => restoring ?? [])
}

/** The moment before the restore that was broken off. */
async function beforeOf(home: string): Promise<string> {
  const history = await Tidemark.open({ store: `file:${home}/store` })
  const [, { startedAt } = { startedAt: '' }] = (await history.status()).epochs
  await history.close()
  return `before:${startedAt}`
}

let moment = ''
let writes = 0
let before: Record<string, unknown>
let undisturbed: Record<string, unknown>
let copies = 0

function copy(): string {
  const home = join(directory, `copy-${++copies}`)
  cpSync(join(directory, 'base'), home, { recursive: true })
  return home
}

beforeAll(async () => {
  const base = join(directory, 'base')
  moment = String(run(base, 'setup').told.moment)
  const home = copy()
  writes = Number(run(home, moment).told.writes)
  before = await treeOf(base)
  undisturbed = await treeOf(home)
})

describe('a restore in place that is killed', () => {
  it('has enough writes to be killed at, and changes what it should', async () => {
    expect(writes).toBeGreaterThan(25)
    expect(Object.keys(undisturbed).filter((key) => key.includes('region=AP') || key.includes('later'))).toEqual([])
    expect(Object.keys(undisturbed).filter((key) => key.includes('/partition=byRegion/'))).toHaveLength(12)
  })

  it.each([0.03, 0.2, 0.4, 0.55, 0.7, 0.85, 1])('at %f of its writes ends as an undisturbed one', async (part) => {
    const home = copy()
    const dieAt = Math.max(1, Math.round(part * writes))
    expect(run(home, moment, String(dieAt)).signal).toBe('SIGKILL')
    expect(await unfinished(home)).toEqual([{}])
    expect(run(home, moment)).toMatchObject({ signal: null, told: { conflicts: 0 } })
    expect(await treeOf(home)).toEqual(undisturbed)
    expect(await unfinished(home)).toEqual([])
  })

  it.each([0.3, 0.8])(
    'at %f of its writes, twice, can be taken back to what was there before the first',
    async (part) => {
      const home = copy()
      expect(run(home, moment, String(Math.round(part * writes))).signal).toBe('SIGKILL')
      expect(run(home, moment, '3').signal).toBe('SIGKILL')
      run(home, await beforeOf(home))
      expect(await treeOf(home)).toEqual(before)
      expect(await unfinished(home)).toEqual([])
    },
  )

  // s3db.js writes two files for each record, one after the other.
  it.each([
    { ends: 'finished', id: 'u99', left: 'id=u99.meta.json', other: 'id=u99' },
    { ends: 'taken back', id: 'u10', left: 'id=u10', other: 'id=u10.meta.json' },
  ])('leaves nothing of a record that is not there when it is $ends: $left', async ({ ends, id, left, other }) => {
    const home = copy()
    expect(run(home, moment, String(Math.round(0.4 * writes))).signal).toBe('SIGKILL')
    const [there, gone] = [left, other].map((name) => join(home, 'db/resource=users/data', name))
    writeFileSync(there ?? '', left.endsWith('.json') ? '{"metadata":{}}' : '')
    rmSync(gone ?? '', { force: true })
    run(home, ends === 'finished' ? moment : await beforeOf(home))
    expect(await treeOf(home)).toEqual(ends === 'finished' ? undisturbed : before)
    expect(existsSync(there ?? '')).toBe(false)
    const { db } = await openDatabase(`file://${home}/db`)
    expect(await db.resources.users?.exists(id)).toBe(false)
    await db.resources.users?.insert({ id, name: 'again', region: 'EU' })
    await db.disconnect()
  })

  it('refuses another restore and says what to type', async () => {
    const home = copy()
    expect(run(home, moment, '5').signal).toBe('SIGKILL')
    const { code, hint } = run(home, String(Number(moment) - 1)).told
    expect(code).toBe('RESTORE_UNFINISHED')
    const [finish, takeBack] = [
      `--to ${new Date(Number(moment)).toISOString()} --in-place`,
      /--to before:\w{26} --in-place/,
    ]
    expect(hint).toContain(finish)
    expect(hint).toMatch(takeBack)

    const { out } = await tidemark(home, ['status', '--store', `file:${home}/store`])
    expect(out).toContain('restore not finished')
    expect(out).toContain(finish.replace('--in-place', '--target <its connection string> --in-place'))
    expect(out).toMatch(/--to before:\w{26} --target <its connection string> --in-place/)
  })
})
