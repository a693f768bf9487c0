import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adapterBlocks, packedHome, TSC } from '../support/packed.ts'

const run = promisify(execFile)

let home = ''
beforeAll(async () => {
  home = await packedHome()
}, 120_000)
afterAll(() => rm(home, { recursive: true, force: true }))

test('the adapter of the document compiles as it stands there, captures, and restores', async () => {
  const app = join(home, 'app')
  const [adapter = '', use = '', suite = ''] = await adapterBlocks()
  await writeFile(join(app, 'package.json'), '{"type":"module"}')
  await writeFile(join(app, 'adapter.ts'), adapter)
  await writeFile(join(app, 'adapter.test.ts'), suite)
  const imports = `import { DatabaseSync } from 'node:sqlite'\nimport { as, Tidemark } from 'tidemark'\nimport { Documents, documentsTarget } from './adapter.js'\n`
  await writeFile(join(app, 'use.ts'), imports + use.replace('await tidemark.close()', ADAPTER_CHECKS))
  const options = ['--strict', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes', '--module', 'nodenext']
  const files = ['adapter.ts', 'adapter.test.ts', 'use.ts']
  await run(TSC, [...options, '--target', 'es2024', '--types', 'node', '--skipLibCheck', ...files], { cwd: app })
  const tested = await run(process.execPath, ['--test', '--test-reporter=tap', 'adapter.test.js'], { cwd: app })
  expect(tested.stdout).toMatch(/^# pass 19$/m)
  expect(tested.stdout).toMatch(/^# fail 0$/m)
  const data = await mkdtemp(join(home, 'adapter-'))
  const { stdout } = await run(process.execPath, [join(app, 'use.js')], { cwd: data })
  expect(JSON.parse(stdout)).toEqual({
    copied: { name: 'Ann' },
    was: { name: 'Ann' },
    events: [
      ['insert', 'ann'],
      ['update', 'bob'],
      ['delete', null],
    ],
    together: [true, true],
    refused: 'no u3',
    undone: [{ name: 'Ann' }, null, null],
    damage: [],
  })
})

test('an adapter is found by the scheme of the connection string, and the command line restores with it', async () => {
  const app = await mkdtemp(join(home, 'cli-'))
  const modules = join(app, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(join(home, 'app/node_modules'))) {
    await symlink(join(home, 'app/node_modules', name), join(modules, name))
  }
  const [adapter = '', use = ''] = await adapterBlocks()
  await writeFile(join(app, 'package.json'), '{"type":"module"}')
  await writeFile(join(app, 'adapter.ts'), adapter)
  await writeFile(join(app, 'none.ts'), 'export const adapter = { schemes: 7 }')
  const imports = `import { as, Tidemark } from 'tidemark'\nimport { Documents, documentsTarget } from './adapter.ts'\n`
  const types = use.replace(
    'await tidemark.close()',
    `await documents.write([{ resource: 'users', id: 'u1', value: { name: 'Bob' } }])\n$&`,
  )
  await writeFile(join(app, 'use.ts'), imports + types)
  await run(process.execPath, ['use.ts'], { cwd: app })
  const cli = async (args: readonly string[], env: Record<string, string> = {}): Promise<[number, string]> => {
    const bin = join(app, 'node_modules/tidemark/dist/bin.js')
    const options = { cwd: app, env: { ...process.env, TIDEMARK_STORE: 'file:./backups', ...env } }
    const ended = await run(process.execPath, [bin, ...args], options).catch((error: unknown) => error)
    const { code = 0, stdout, stderr } = ended as { code?: number; stdout: string; stderr: string }
    return [code, stdout + stderr]
  }
  const target = `sqlite://${join(app, 'new.db')}`
  const restore = ['restore', '--to', 'latest', '--target', target]

  const unknown = await cli(restore)
  expect(unknown).toEqual([
    2,
    expect.stringMatching(/No adapter for sqlite:\/\/ .*\n.*npm install tidemark-adapter-sqlite.*--adapter.*s3:\/\//),
  ])
  expect(await cli([...restore, '--adapter', 'no-such-adapter'])).toEqual([
    2,
    expect.stringContaining('no-such-adapter'),
  ])
  expect(await cli([...restore, '--adapter', './none.ts'])).toEqual([
    2,
    expect.stringContaining('exports no `adapter`'),
  ])
  const other = ['restore', '--to', 'latest', '--target', 'other://x', '--adapter', './adapter.ts']
  expect(await cli(other)).toEqual([2, expect.stringContaining('opens sqlite://, and not other://')])
  const directory = ['restore', '--to', 'latest', '--target', './copy', '--adapter', './adapter.ts']
  expect(await cli(directory)).toEqual([2, expect.stringContaining('is a directory')])
  expect(
    await cli([...restore, '--id', 'u1', '--resource', 'users', '--map-schema', '--adapter', './adapter.ts']),
  ).toEqual([2, expect.stringContaining('no schemas')])

  // Looking makes nothing, and what is installed needs not be named.
  await mkdir(join(modules, 'tidemark-adapter-sqlite'))
  await writeFile(join(modules, 'tidemark-adapter-sqlite/package.json'), '{"type":"module","exports":"./index.js"}')
  await writeFile(join(modules, 'tidemark-adapter-sqlite/index.js'), stripTypeScriptTypes(adapter))
  expect(await cli([...restore, '--dry-run'])).toEqual([0, expect.stringMatching(/\+ users\/u1\n/)])
  expect(await readdir(app)).not.toContain('new.db')
  for (const env of [{}, { TIDEMARK_ADAPTER: './adapter.ts' }]) {
    await rm(join(app, 'new.db'), { force: true })
    expect(await cli(restore, env)).toEqual([0, expect.stringContaining('1 added')])
    expect(rowsOf(join(app, 'new.db'))).toEqual(['{"name":"Bob"}'])
  }
  // What the environment names is not in the way of what it does not open.
  const elsewhere = ['restore', '--to', 'latest', '--target', 'memory://x', '--dry-run']
  expect(await cli(elsewhere, { TIDEMARK_ADAPTER: './adapter.ts' })).toEqual([
    2,
    expect.stringContaining('in the memory of'),
  ])

  const live = `sqlite://${join(app, 'app.db')}`
  expect(await cli(['reconcile', '--source', live])).toEqual([0, expect.stringContaining('nothing')])
  const first = /"ulid":"(\w+)"/.exec((await cli(['log', 'users/u1', '--json']))[1])?.[1] ?? ''
  const [code, out] = await cli(['restore', '--to', first, '--target', live, '--yes'])
  expect([code, rowsOf(join(app, 'app.db'))]).toEqual([0, ['{"name":"Ann"}']])
  const back = /--to (before:\w+)/.exec(out)?.[1] ?? ''
  expect((await cli(['restore', '--to', back, '--target', live, '--yes']))[0]).toBe(0)
  expect(rowsOf(join(app, 'app.db'))).toEqual(['{"name":"Bob"}'])
  new DatabaseSync(join(app, 'app.db')).exec('DELETE FROM documents')
  expect(await cli(['reconcile', '--source', live])).toEqual([9, expect.stringContaining('1 removed')])
  expect((await cli(['reconcile', '--source', live, '--record']))[0]).toBe(9)
  expect(await cli(['reconcile', '--source', live])).toEqual([0, expect.stringContaining('nothing')])
})

function rowsOf(path: string): unknown[] {
  const db = new DatabaseSync(path)
  const rows = db.prepare('SELECT json FROM documents').all()
  db.close()
  return rows.map(({ json }) => json)
}

/** What the example does not show: histories, one moment for one transaction, a refused write, and a restore in place. */
const ADAPTER_CHECKS = `
const before = Date.now()
await new Promise((resolve) => setTimeout(resolve, 20))
await as({ actor: 'bob' }, () =>
  documents.write([
    { resource: 'users', id: 'u1', value: { name: 'Bob' } },
    { resource: 'orders', id: 'o1', value: { total: 1 } },
  ]),
)
const last = async (resource: string, id: string): Promise<string> => {
  let ulid = ''
  for await (const event of tidemark.history(resource, id)) ulid = event.stamp.ulid
  return ulid
}
const [user, order] = [await last('users', 'u1'), await last('orders', 'o1')]
const together = [user.slice(0, 13) === order.slice(0, 13), (await tidemark.at(order).get('users', 'u1'))?.['name'] === 'Bob']
await documents.write([{ resource: 'users', id: 'u1', value: null }])
new DatabaseSync('app.db').exec("CREATE TRIGGER t BEFORE INSERT ON documents WHEN NEW.id = 'u3' BEGIN SELECT RAISE(ABORT, 'no u3'); END")
// A row that the table does not take, behind one that it does: neither is there, and neither is an event.
const bad = [{ resource: 'users', id: 'u2', value: { name: 'Eve' } }, { resource: 'users', id: 'u3', value: {} }]
const refused = await documents.write(bad).then(() => 'done', (error: Error) => error.message)
const events: [string, string | null][] = []
for await (const event of tidemark.history('users', 'u1')) events.push([event.operation, event.context.actor])
await tidemark.flush()
await tidemark.restoreAt(before, { target: documentsTarget(documents), overwrite: true })
console.log(JSON.stringify({
  copied: copy.get('users', 'u1'),
  was: await tidemark.at(before).get('users', 'u1'),
  events,
  together,
  refused: refused,
  undone: [documents.get('users', 'u1'), documents.get('orders', 'o1'), documents.get('users', 'u2')],
  damage: (await tidemark.verify()).damage,
}))
await tidemark.close()`

const STRICT = ['--strict', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes', '--module', 'nodenext']
const EMIT = ['--target', 'es2024', '--types', 'node', '--skipLibCheck']

/** An application that has the package, and what the command line says in it. */
async function application(name: string): Promise<{
  readonly app: string
  readonly cli: (args: readonly string[], env?: Record<string, string>) => Promise<[number, string]>
}> {
  const app = await mkdtemp(join(home, name))
  await mkdir(join(app, 'node_modules'))
  for (const module of await readdir(join(home, 'app/node_modules'))) {
    await symlink(join(home, 'app/node_modules', module), join(app, 'node_modules', module))
  }
  await writeFile(join(app, 'package.json'), '{"type":"module"}')
  const cli = async (args: readonly string[], env: Record<string, string> = {}): Promise<[number, string]> => {
    const options = { cwd: app, env: { ...process.env, ...env } }
    const ended = await run(process.execPath, ['node_modules/tidemark/dist/bin.js', ...args], options).catch(
      (error: unknown) => error,
    )
    const { code = 0, stdout, stderr } = ended as { code?: number; stdout: string; stderr: string }
    return [code, stdout + stderr]
  }
  return { app, cli }
}

test('the store of the document passes its contract, and keeps a history that the command line reads', async () => {
  const [documents = '', , , store = '', use = '', suite = ''] = await adapterBlocks()
  const { app, cli } = await application('store-')
  await writeFile(join(app, 'adapter.ts'), documents)
  await writeFile(join(app, 'store.ts'), store)
  await writeFile(join(app, 'store.test.ts'), suite)
  const head = `import { Tidemark } from 'tidemark'\nimport { Documents, documentsTarget } from './adapter.js'\nimport { SqliteStore } from './store.js'\nconst documents = new Documents('app.db')\n`
  await writeFile(join(app, 'use.ts'), `${head}${use}${STORE_CHECKS}`)
  await run(TSC, [...STRICT, ...EMIT, 'adapter.ts', 'store.ts', 'store.test.ts', 'use.ts'], { cwd: app })
  const tested = await run(process.execPath, ['--test', '--test-reporter=tap', 'store.test.js'], { cwd: app })
  expect(tested.stdout).toMatch(/^# pass 2\d$/m)
  expect(tested.stdout).toMatch(/^# fail 0$/m)
  const { stdout } = await run(process.execPath, ['use.js'], { cwd: app })
  expect(JSON.parse(stdout)).toEqual({
    store: 'sqlite-store:///var/backups/history.db',
    was: { name: 'Ann' },
    copied: [{ name: 'Bob' }, { total: 1 }],
    snapshots: 2,
    damage: [],
    drills: [true],
  })

  // Not where the application said, and in no module that was named: nothing is made there.
  const at = ['--store', `sqlite-store://${join(app, 'history.db')}`]
  const key = { TIDEMARK_PASSPHRASE: 'correct horse battery' }
  expect(await cli(['status', ...at], key)).toEqual([2, expect.stringContaining('--store-adapter')])
  expect(await cli(['status', ...at, '--store-adapter', './adapter.js'], key)).toEqual([
    2,
    expect.stringContaining('exports no `storeAdapter`'),
  ])
  const own = [...at, '--store-adapter', './store.js']
  expect(await cli(['status', ...own])).toEqual([12, expect.stringContaining('ENCRYPTION_KEY_NEEDED')])
  expect(await cli(['show', 'users/u1', ...own], key)).toEqual([0, expect.stringContaining('Bob')])
  expect(await cli(['verify', ...at], { ...key, TIDEMARK_STORE_ADAPTER: './store.js' })).toEqual([
    0,
    expect.stringMatching(/^damage +none$/m),
  ])
  // The place of record keys is opened in the same way; this store was made without.
  const keys = { ...key, TIDEMARK_RECORD_KEYS: `sqlite-store://${join(app, 'keys.db')}` }
  expect(await cli(['status', ...own], keys)).toEqual([5, expect.stringContaining('RECORD_KEYS_FOREIGN')])
  const live = ['restore', '--to', 'latest', '--target', `sqlite://${join(app, 'app.db')}`, '--adapter', './adapter.js']
  new DatabaseSync(join(app, 'app.db')).exec("DELETE FROM documents WHERE resource = 'orders'")
  expect(await cli([...live, ...own, '--yes'], key)).toEqual([0, expect.stringContaining('1 added')])
  expect(rowsOf(join(app, 'app.db'))).toEqual(['{"total":1}', '{"name":"Bob"}'])
  const builtIn = ['status', '--store', 'file:./backups', '--store-adapter', './store.js']
  expect(await cli(builtIn)).toEqual([2, expect.stringContaining('has no store to open')])
  const failing = `export const storeAdapter = { schemes: ['broken'], open: async () => { throw new Error('no route') } }`
  await writeFile(join(app, 'broken.js'), failing)
  expect(await cli(['status', '--store', 'broken://x', '--store-adapter', './broken.js'])).toEqual([
    6,
    expect.stringContaining('cannot be opened: no route'),
  ])
  const nowhere = ['--store', `sqlite-store://${join(app, 'typo.db')}`, '--store-adapter', './store.js']
  expect(await cli(['status', ...nowhere])).toEqual([3, expect.stringContaining('STORE_NOT_FOUND')])
  expect(await readdir(app)).not.toContain('typo.db')
  const foreign = join(app, 'copy.db')
  const bytes = await readFile(foreign)
  const other = ['--store', `sqlite-store://${foreign}`, '--store-adapter', './store.js']
  expect(await cli(['status', ...other])).toEqual([3, expect.stringContaining('STORE_NOT_FOUND')])
  expect(await readFile(foreign)).toEqual(bytes)
})

test('the suite for the disk of a journal runs as the document says', async () => {
  const [, , , , , , suite = ''] = await adapterBlocks()
  const { app } = await application('disk-')
  await writeFile(join(app, 'disk.test.ts'), suite)
  await run(TSC, [...STRICT, ...EMIT, 'disk.test.ts'], { cwd: app })
  await mkdir(join(app, 'journals'))
  const env = { ...process.env, JOURNAL_DIRECTORY: join(app, 'journals') }
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', 'disk.test.js'], { cwd: app, env })
  expect(stdout).toMatch(/^# pass 13$/m)
  expect(stdout).toMatch(/^# fail 0$/m)
  expect(await readdir(join(app, 'journals'))).toEqual([])
})

/** What the example does not show: snapshots, a restore, a drill and a verification. */
const STORE_CHECKS = `
await documents.write([{ resource: 'users', id: 'u1', value: { name: 'Ann' } }])
await tidemark.flush()
const before = Date.now()
await new Promise((resolve) => setTimeout(resolve, 20))
await documents.write([
  { resource: 'users', id: 'u1', value: { name: 'Bob' } },
  { resource: 'orders', id: 'o1', value: { total: 1 } },
])
await tidemark.flush()
await tidemark.snapshot()
const copy = new Documents('copy.db')
await tidemark.restoreAt('latest', { target: documentsTarget(copy) })
const status = await tidemark.status()
console.log(JSON.stringify({
  store: status.store,
  was: await tidemark.at(before).get('users', 'u1'),
  copied: [copy.get('users', 'u1'), copy.get('orders', 'o1')],
  snapshots: status.snapshots.length,
  damage: (await tidemark.verify()).damage,
  drills: (await tidemark.drill({ at: 'latest' })).map(({ passed }) => passed),
}))
await tidemark.close()
`

/** An adapter as of a package that brought its own copy of tidemark: its errors, its images, and who writes. */
const FOREIGN = `
import { objectNotFound, TidemarkError } from 'tidemark'
export const adapter = {
  schemes: ['denied'],
  open: async () => {
    throw new TidemarkError('TARGET_DENIED', 'The database let nobody in.', { hint: 'Ask for a key.' })
  },
}
export const failing = new TidemarkError('STORE_UNAVAILABLE', 'The line is dead.', { hint: 'Wait.' })
export const missing = objectNotFound('tidemark.json')
`

test('an adapter with a copy of the package of its own is known by its errors, its images, and who writes', async () => {
  const { app, cli } = await application('copy-')
  const [documents = ''] = await adapterBlocks()
  const package_ = join(app, 'node_modules', 'tidemark-adapter-denied')
  await mkdir(join(package_, 'node_modules'), { recursive: true })
  await cp(join(home, 'app/node_modules/tidemark'), join(package_, 'node_modules/tidemark'), { recursive: true })
  await writeFile(
    join(package_, 'package.json'),
    '{"type":"module","exports":{".":"./index.js","./documents":"./documents.js"}}',
  )
  await writeFile(join(package_, 'index.js'), FOREIGN)
  await writeFile(join(package_, 'documents.js'), stripTypeScriptTypes(documents))
  await writeFile(join(app, 'use.mjs'), USE_FOREIGN)
  const { stdout } = await run(process.execPath, ['use.mjs'], { cwd: app })
  expect(JSON.parse(stdout)).toEqual({
    found: 'STORE_NOT_FOUND',
    twice: 'SOURCE_ATTACHED',
    isOther: true,
    known: [true, false, false, false],
    shown: 'TidemarkError: The line is dead.',
    actors: ['ann'],
    restored: { name: 'Ann' },
    attempts: 5,
  })
  const restore = ['restore', '--to', 'latest', '--target', 'denied://x', '--store', 'file:./backups']
  const [code, said] = await cli(restore)
  expect([code, said]).toEqual([6, 'error TARGET_DENIED: The database let nobody in.\nnext: Ask for a key.\n'])
})

const USE_FOREIGN = `
import { S3db } from 's3db.js'
import { as, Tidemark, TidemarkError } from 'tidemark'
import { failing, missing } from 'tidemark-adapter-denied'
import { Documents, documentsTarget } from 'tidemark-adapter-denied/documents'
import { TidemarkPlugin } from 'tidemark/s3db'
import { TidemarkPlugin as Other } from './node_modules/tidemark-adapter-denied/node_modules/tidemark/dist/s3db/plugin.js'

const documents = new Documents('app.db')
const tidemark = await Tidemark.capture({ store: 'file:./backups', source: documents })
await as({ actor: 'ann' }, () => documents.write([{ resource: 'users', id: 'u1', value: { name: 'Ann' } }]))
await tidemark.flush()
const actors = []
for await (const { context } of tidemark.history('users', 'u1')) actors.push(context.actor)
const copy = new Documents('copy.db')
await tidemark.restoreAt('latest', { target: documentsTarget(copy) })
await tidemark.close()
let attempts = 0
const fail = async () => {
  attempts++
  throw failing
}
const objects = { put: fail, get: fail, head: fail, delete: fail, list: fail }
await Tidemark.open({ store: { url: 'dead://line', objects } }).catch(() => {})
const db = new S3db({ connectionString: 'memory://twice', logLevel: 'silent' })
await db.connect()
await db.usePlugin(new TidemarkPlugin({ store: 'memory:a' }))
const twice = await db.usePlugin(new Other({ store: 'memory:b' })).then(() => 'captured twice', ({ code }) => code)
await db.disconnect()
const nothing = { ...objects, get: async () => Promise.reject(missing), list: async function* () {} }
const found = await Tidemark.open({ store: { url: 'empty://store', objects: nothing } }).catch(({ code }) => code)
console.log(JSON.stringify({
  found,
  twice,
  isOther: failing.constructor !== TidemarkError,
  known: [
    ...[failing, new Error('x'), null].map((one) => one instanceof TidemarkError),
    failing instanceof (class Own extends TidemarkError {}),
  ],
  shown: String(failing),
  actors,
  restored: copy.get('users', 'u1'),
  attempts,
}))
`
