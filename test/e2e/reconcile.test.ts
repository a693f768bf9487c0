import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding, ItemState } from '../../src/index.ts'
import { findingKind } from '../../src/model/found.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { show } from '../support/arbitrary.ts'
import { type Application, fingerprint, jsonLines, type Run, talkTo } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { s3ForTests } from '../support/s3.ts'
import { s3dbOnS3 } from '../support/s3db-on-s3.ts'

const directory = mkdtempSync(join(tmpdir(), 'reconcile-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

async function statesOf(states: AsyncIterable<ItemState>): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const { kind, resource, id, image } of states) found.set(JSON.stringify([kind, resource, id]), show(image))
  return found
}

async function* flat(batches: AsyncIterable<readonly ItemState[]>): AsyncGenerator<ItemState> {
  for await (const batch of batches) yield* batch
}

const nameOf = (one: Finding): string => `${findingKind(one)} ${one.kind} ${one.resource}/${one.id}`

describe('tidemark reconcile', () => {
  const source = `file://${directory}/app`
  const run = (...args: string[]): Promise<Run> =>
    tidemark(directory, args, { TIDEMARK_STORE: `file:${directory}/store` })
  const reconcile = (...args: string[]): Promise<Run> =>
    run('reconcile', '--source', source, '--journal', `${directory}/journal`, ...args)
  let application: Application

  beforeAll(async () => {
    const script = join(import.meta.dirname, '../support/cli-application.ts')
    application = await talkTo(spawn(process.execPath, [script, directory], { stdio: ['pipe', 'pipe', 'inherit'] }))
    for (const id of ['a', 'b', 'c']) await application.send({ put: { id, name: id, n: 1 } })
  })

  /** A program that has no plugin. */
  async function around(work: (db: S3db) => Promise<void>): Promise<void> {
    const db = new S3db({ connectionString: source, logLevel: 'silent' })
    await db.connect()
    await work(db)
    await db.disconnect()
  }

  const differences = (out: string): unknown[] =>
    jsonLines(out)
      .filter(({ difference }) => difference !== undefined)
      .map(({ kind, resource, id, difference }) => [difference, kind, resource, id])

  it('finds nothing where everything was captured, and writes nothing', async () => {
    await run('log', 'users/a')
    const before = await fingerprint(join(directory, 'store'))
    const { code, out } = await reconcile('--json')
    expect([code, differences(out)]).toEqual([0, []])
    expect(jsonLines(out).at(-1)).toMatchObject({ added: 0, changed: 0, removed: 0, undecided: 0 })
    expect(await fingerprint(join(directory, 'store'))).toEqual(before)
  })

  it('finds what a program without the plugin did, while another process captures', async () => {
    await around(async (db) => {
      await db.resources.users?.update('a', { name: 'around' })
      await db.resources.users?.delete('b')
      const orders = await db.createResource({ name: 'orders', attributes: { name: 'string' } })
      await orders.insert({ id: 'o1', name: 'new' })
    })
    const expected = [
      ['added', 'schema', 'orders', ''],
      ['added', 'record', 'orders', 'o1'],
      ['changed', 'record', 'users', 'a'],
      ['removed', 'record', 'users', 'b'],
    ]
    const looked = await reconcile('--json')
    expect([looked.code, differences(looked.out)]).toEqual([9, expected])
    const one = await reconcile('--json', '--resource', 'users')
    expect([one.code, differences(one.out)]).toEqual([9, expected.slice(2)])
    const text = await reconcile('--record')
    expect(text.code, text.err).toBe(9)
    expect(text.out).toMatch(/^changed {2}users\/a {2}between .* and /m)
    expect(text.out).toMatch(/recorded\s+4/)
    const again = await reconcile('--json', '--record')
    expect([again.code, differences(again.out)]).toEqual([0, []])
  })

  it('the log shows what was found, with the interval', async () => {
    const { out } = await run('log', 'users/a')
    expect(out).toMatch(/found: it was not captured, and happened between \S+Z and \S+Z/)
    const last = jsonLines((await run('log', 'users/a', '--json')).out).at(-1)
    expect(last).toMatchObject({ actor: null, operation: 'update', before: { name: 'a' }, after: { name: 'around' } })
    expect(last?.metadata).toMatchObject({ tidemark: { found: true } })
  })

  it('works where nobody captures, and refuses to record into the history of another database', async () => {
    await application.send({ put: { id: 'c', name: 'captured', n: 2 } })
    application.process.stdin?.write('{"end":true}\n')
    await new Promise((resolve) => application.process.once('exit', resolve))
    await around(async (db) => void (await db.resources.users?.insert({ id: 'd', name: 'late', n: 4 })))
    const expected = [['added', 'record', 'users', 'd']]
    const looked = await reconcile('--json')
    expect([looked.code, differences(looked.out)]).toEqual([9, expected])
    const other = ['reconcile', '--source', `file://${directory}/other`, '--journal', `${directory}/journal`, '--json']
    const refused = await run(...other, '--record')
    expect([refused.code, jsonLines(refused.err).at(-1)?.error]).toMatchObject([5, { code: 'CONFIRMATION_NEEDED' }])
    expect((await reconcile('--record')).code).toBe(9)
    expect((await reconcile('--record')).code).toBe(0)
    const wrong = await run('reconcile', '--source', './app', '--json')
    expect([wrong.code, jsonLines(wrong.err).at(-1)?.error]).toMatchObject([2, { code: 'OPTION_INVALID' }])
  })
})

const server = s3ForTests()

it.skipIf(server === null)(
  'a script writes to the database on S3 with the plugin off, and everything is found, also a new resource',
  { timeout: 180_000 },
  async () => {
    if (server === null) throw new Error('no S3 server')
    const { open } = await s3dbOnS3(server)
    const [db, script] = [open(), open()]
    await db.connect()
    const home = join(directory, 's3')
    const plugin = new TidemarkPlugin({
      store: `file:${home}/store`,
      journal: `${home}/journal`,
      logger: pino({ level: 'silent' }),
    })
    await db.usePlugin(plugin)
    const notes = await db.createResource({ name: 'notes', attributes: { text: 'string' }, paranoid: false })
    for (let i = 0; i < 30; i++) await notes.insert({ id: `n${i}`, text: `text ${i}` })
    await script.connect()
    const other = await script.getResource('notes')
    await other.update('n3', { text: 'around' })
    await other.delete('n4')
    await other.insert({ id: 'x', text: 'new' })
    const more = await script.createResource({ name: 'more', attributes: { text: 'string' } })
    await more.insert({ id: 'm', text: 'new' })
    const found: string[] = []
    const options = { onFinding: (one: Finding) => void found.push(nameOf(one)) }
    await plugin.reconcile({ ...options, record: true })
    expect(found.sort()).toEqual([
      'added record more/m',
      'added record notes/x',
      'added schema more/',
      'changed record notes/n3',
      'removed record notes/n4',
    ])
    await plugin.reconcile(options)
    expect(found).toHaveLength(5)
    const live = await statesOf(flat(createS3dbTarget(db).scan({})))
    expect(await statesOf(plugin.at('latest').states())).toEqual(live)
    await db.disconnect()
    await script.disconnect()
  },
)
