import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { ROOT } from '../support/cli.ts'

const run = promisify(execFile)
const document = readFileSync(join(ROOT, 'schemas/DEPLOYING.md'), 'utf8')
const MODULES = join(ROOT, 'node_modules')
const home = mkdtempSync(join(tmpdir(), 'deploying-'))
const app = join(home, 'app')

function block(language: string, holds: string): string {
  const found = [...document.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, text = '']) => text,
  )
  const [only = ''] = found.filter((text) => text.includes(holds))
  expect(only).not.toBe('')
  return only
}

/** Runs commands as they are printed, with the tools of this checkout. */
async function shell(script: string): Promise<void> {
  await run('sh', ['-euc', script.replaceAll('npx ', '')], {
    cwd: app,
    env: { ...process.env, PATH: `${join(MODULES, '.bin')}:${process.env.PATH}` },
  })
}

beforeAll(async () => {
  const checkout = join(home, 'checkout')
  mkdirSync(join(app, 'node_modules'), { recursive: true })
  mkdirSync(checkout)
  for (const name of ['src', 'tools', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    execFileSync('cp', ['-r', join(ROOT, name), checkout])
  }
  symlinkSync(MODULES, join(checkout, 'node_modules'))
  await run('npm', ['run', 'build'], { cwd: checkout })
  for (const name of ['s3db.js', '@types']) symlinkSync(join(MODULES, name), join(app, 'node_modules', name))
  symlinkSync(checkout, join(app, 'node_modules/tidemark'))
  writeFileSync(join(app, 'package.json'), '{}')
  const [setUp = '', ...installing] = block('sh', 'npm pkg set').trim().split('\n')
  expect(installing).toEqual(['npm install --save-dev typescript @types/node'])
  await shell(setUp)
  writeFileSync(join(app, 'app.ts'), block('ts', 'TidemarkPlugin'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Starts the application, ends it with SIGTERM when it is ready, and sees that everything is in the store. */
async function deployed(name: string, command: readonly string[], env: Record<string, string> = {}): Promise<void> {
  const places = {
    DATABASE: `file://${home}/${name}/db`,
    STORE: `file:${home}/${name}/store`,
    JOURNAL: `${home}/${name}/journal`,
  }
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    cwd: app,
    env: { PATH: process.env.PATH, ...env, ...places },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  expect(line).toBe('ready')
  child.kill('SIGTERM')
  await once(child, 'close')
  const history = await Tidemark.open({ store: places.STORE })
  const { streams } = await history.status()
  expect(streams.map(({ state }) => state)).toEqual(['closed'])
  expect(await history.at('latest').count('users')).toBe(1)
  expect((await history.verify()).damage).toEqual([])
  await history.close()
}

test('in TypeScript, compiled and run as printed', async () => {
  const [compile = ''] = block('sh', 'tsc').split(' && ')
  await shell(compile)
  mkdirSync(join(home, 'typescript'))
  await deployed('typescript', [process.execPath, 'app.js'])
})

test('bundled as printed, and with the worker that stays outside', async () => {
  await shell(block('sh', 'rolldown'))
  mkdirSync(join(home, 'bundled'))
  await deployed('bundled', [process.execPath, 'bundle/app.mjs'])
})

test('as in the container: a user without a name and a home, and two places to write', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root')
  await shell(block('sh', 'rolldown'))
  const [, uid = '', gid = ''] = /^USER (\d+):(\d+)$/m.exec(document) ?? []
  const [, command = ''] = /^CMD (\[.*\])$/m.exec(document) ?? []
  const [node, ...args] = JSON.parse(command) as string[]
  expect(node).toBe('node')
  chmodSync(home, 0o755)
  const writable = join(home, 'container')
  mkdirSync(writable)
  chownSync(writable, Number(uid), Number(gid))
  const as = ['setpriv', '--reuid', uid, '--regid', gid, '--clear-groups', process.execPath, ...args]
  await deployed('container', as, { HOME: '/nonexistent' })
})
