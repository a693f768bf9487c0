import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { containerOn } from '../support/container.ts'

const root = join(import.meta.dirname, '../..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const home = mkdtempSync(join(tmpdir(), 'readme-'))
const checkout = join(home, 'checkout')
const environment = { ...process.env, PATH: `${join(checkout, 'node_modules/.bin')}:${process.env.PATH}`, NODE_ENV: '' }

/** The blocks of a language, in order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block ?? '')
}

beforeAll(() => {
  mkdirSync(checkout)
  for (const name of ['src', 'tools', 'schemas', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'README.md']) {
    cpSync(join(root, name), join(checkout, name), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  execFileSync('npm', ['run', 'build'], { cwd: checkout, env: environment, stdio: 'pipe' })
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

it('is short, and names no file that is not there', () => {
  expect(readme.split('\n').length).toBeLessThan(300)
  for (const [, path] of readme.matchAll(/`((?:src|schemas|tools|test|bench)\/[^`*]+)`/g)) {
    expect(existsSync(join(root, path ?? '')), path).toBe(true)
  }
})

it('has a quick start that does what it prints', () => {
  const code = blocks('js').find((block) => block.includes('new S3db'))
  const user = join(home, 'user')
  mkdirSync(join(user, 'node_modules'), { recursive: true })
  symlinkSync(checkout, join(user, 'node_modules/tidemark'))
  symlinkSync(join(root, 'node_modules/s3db.js'), join(user, 'node_modules/s3db.js'))
  writeFileSync(join(user, 'start.mjs'), code ?? '')
  const { stdout, stderr, status } = spawnSync('node', ['start.mjs'], { cwd: user, env: environment, encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  expect(stdout).toContain("{ id: 'u1', name: 'Ann' }\nAnn\n") // s3db.js itself says before that it is connected
  expect(existsSync(join(user, 'backups/tidemark.json'))).toBe(true)
})

it('has commands that work as printed, one after the other, as in a container', { timeout: 900_000 }, () => {
  // What npx does each time takes longer than the command: the first one is as printed, the others are what npx would start.
  const script = blocks('sh')
    .filter((block) => !/npm install|npm test/.test(block)) // installed already; this is npm test
    .map((block) => block.replace('npm ci && ', ''))
    .join('\n')
    .replace(/npx tidemark status$/m, '$&\nnpx() { shift; node dist/bin.js "$@"; }')
  expect(script).toContain('npx()')
  expect(script).toContain('npm run demo')
  for (const command of ['status', 'log', 'show', 'restore', 'verify'])
    expect(script).toContain(`npx tidemark ${command}`)
  chmodSync(home, 0o755)
  const container = containerOn(checkout)
  const [program = '', ...args] = [...(container?.around ?? []), 'bash', '-euo', 'pipefail', '-c', script]
  const { stdout, stderr, status } = spawnSync(program, args, {
    cwd: checkout,
    env: { ...environment, ...container?.env },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  expect(status, `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`).toBe(0)
  expect(stdout).toContain('records are what get() gave before the deploy')
  expect(stdout).toMatch(/update {2}by deploy-/)
  expect(stdout).toContain('"name": "Warīsān"')
  expect(stdout).toMatch(/^\{"id":"AE-15","name":"Warīsān"/m)
  expect(stdout).toMatch(/restored: 1 added|restored: 2 added|restored: 3 added/)
  expect(stdout).toMatch(/damage\s+none/)
})
