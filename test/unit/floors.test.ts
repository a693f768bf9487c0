// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are source texts
import { expect, test } from 'vitest'
import { findings } from '../../tools/floors.ts'
import { importsOf, scan } from '../../tools/scan.ts'

const GOOD = '/** It. */\nexport const it: number = 1\n'

function check(files: Record<string, string>): string[] {
  return findings(new Map(Object.entries(files)))
}

/** The findings in a file that is clean apart from `line`, without their place. */
function inFile(path: string, line: string): string[] {
  return check({ [path]: `${line}\n` }).map((finding) => finding.replace(/^\S+ /, ''))
}

test('imports that go down are fine, imports that go up are not, type imports too', () => {
  expect(check({ 'base/a.ts': GOOD, 'restore/b.ts': "import { it } from '../base/a.ts'\nvoid it\n" })).toEqual([])
  expect(check({ 'base/a.ts': "import type { It } from '../model/b.ts'\n", 'model/b.ts': GOOD })).toEqual([
    'base/a.ts:1: imports model/b.ts: base may import nothing and itself',
  ])
  expect(check({ 'capture/a.ts': "\nimport {\n  it,\n} from '../restore/b.ts'\n", 'restore/b.ts': GOOD })).toEqual([
    'capture/a.ts:2: imports restore/b.ts: capture may import base, model, store, format, timeline and itself',
  ])
  expect(check({ 'store/a.ts': "const b = await import('../model/b.ts')\n", 'model/b.ts': GOOD })).toHaveLength(1)
  expect(check({ 'elsewhere/a.ts': "import '../base/b.ts'\n", 'base/b.ts': GOOD })).toEqual([
    'elsewhere/a.ts:1: elsewhere/ is no floor',
  ])
  expect(check({ 'engine/a.ts': "import '../index.ts'\n", 'index.ts': '' })[0]).toContain('above everything')
})

test('an adapter may import as types what the package exports, and nothing else of the lower floors', () => {
  const files = {
    'index.ts': "export type { It } from './restore/seam.ts'\n",
    'restore/seam.ts': GOOD,
    'restore/inner.ts': GOOD,
  }
  const withImport = (line: string): string[] => check({ ...files, 's3db/a.ts': `${line}\n` })
  expect(withImport("import type { It } from '../restore/seam.ts'")).toEqual([])
  expect(withImport("import { type It, type That } from '../restore/seam.ts'")).toEqual([])
  expect(withImport("import { it, type It } from '../restore/seam.ts'")).toHaveLength(1)
  expect(withImport("import type { It } from '../restore/inner.ts'")).toHaveLength(1)
})

test('cycles of files are named, however they come about', () => {
  const found = check({
    'base/a.ts': "import type { B } from './b.ts'\n",
    'base/b.ts': "import './c.ts'\n",
    'base/c.ts': "import { a } from './a.ts'\n",
  })
  expect(found).toEqual(['base/a.ts:1: a cycle of files: base/a.ts -> base/b.ts -> base/c.ts -> base/a.ts'])
})

test('no barrels below index.ts', () => {
  const files = { 'base/a.ts': GOOD, 'index.ts': "export { it } from './base/a.ts'\n" }
  expect(check(files)).toEqual([])
  expect(check({ ...files, 'base/all.ts': "export * from './a.ts'\n" })[0]).toContain('no barrels')
})

test.each([
  ['model/a.ts', 'void Date.now()', 'time'],
  ['model/a.ts', 'void new Date()', 'time'],
  ['model/a.ts', 'void performance.now()', 'time'],
  ['model/a.ts', 'setTimeout(go, 5)', 'time'],
  ['model/a.ts', "import { setTimeout as sleep } from 'node:timers/promises'", 'time'],
  ['capture/a.ts', "import { open } from 'node:fs/promises'", 'files'],
  ['s3db/a.ts', "import { connect } from 'node:net'", 'files'],
  ['engine/a.ts', "void console.log('x')", 'console'],
  ['engine/a.ts', "process.stderr.write('x')", 'console'],
  ['engine/a.ts', 'let a: any', 'any'],
  ['engine/a.ts', 'f(a as any)', 'any'],
  ['engine/a.ts', 'let a: Map<string, any>', 'any'],
  ['engine/a.ts', 'f(a as unknown as B)', 'unknown'],
  ['engine/a.ts', '// @ts-ignore', 'checking'],
  ['engine/a.ts', 'try { f() } catch { /* nothing */ }', 'decision'],
  ['engine/a.ts', 'try { f() } catch (error) {}', 'decision'],
  ['engine/a.ts', 'f().catch(() => {})', 'rejection'],
  ['engine/a.ts', 'export const a: number = 1', 'docstring'],
  ['engine/a.ts', '// no docstring\nexport async function f(): Promise<void> {}', 'docstring'],
  ['engine/a.ts', 'interface AOptions {\n  [name: string]: number\n}', 'index signature'],
])('%s: %s', (path, line, what) => {
  expect(inFile(path, line)).toEqual([expect.stringContaining(what)])
})

test.each([
  ['base/clock.ts', 'void Date.now()'],
  ['store/a.ts', "import { open } from 'node:fs/promises'"],
  ['capture/node-disk.ts', "import { open } from 'node:fs/promises'"],
  ['cli/a.ts', "void console.log('x')"],
  ['model/a.ts', 'void new Date(5)'],
  ['model/a.ts', 'socket.setTimeout(5)'],
  ['model/a.ts', "/* Date.now() */ f('console.log', `new Date() ${a} as any`, /: any/) // setTimeout("],
  ['model/a.ts', 'f(`${g(`: any ${{ a }} : any`)} : any`)'],
  ['model/a.ts', 'f().catch(() => {}) // the caller has it'],
  ['model/a.ts', 'try { f() } catch { g() }'],
  ['model/a.ts', 'f(company)\nlet many: Many'],
])('allowed: %s: %s', (path, line) => {
  expect(inFile(path, line)).toEqual([])
})

test('each type name is declared once', () => {
  const found = check({
    'base/a.ts': '\ninterface Row {}\n',
    'model/b.ts': 'type Row = 1\n',
    'model/c.ts': 'class Rows {}\n',
  })
  expect(found).toEqual(['model/b.ts:1: Row is declared at base/a.ts:2 too: one word, one meaning'])
})

test('files have at most 400 lines, options at most eight fields', () => {
  expect(check({ 'base/a.ts': 'void 0\n'.repeat(400) })).toEqual([])
  expect(check({ 'base/a.ts': 'void 0\n'.repeat(401) })).toEqual(['base/a.ts:400: 401 lines; a file has at most 400'])
  const options = (fields: number): string =>
    `interface AOptions {\n${Array.from({ length: fields }, (_, i) => `  /** A: b */\n  readonly f${i}?: { g: 1; h(a: 2): 3 }\n`).join('')}}\n`
  expect(check({ 'base/a.ts': options(8) })).toEqual([])
  expect(check({ 'base/a.ts': options(9) })).toEqual(['base/a.ts:1: AOptions has 9 fields, more than 8'])
})

test('the scanner keeps every character where it stood', () => {
  const text = "a(/[/'\"]/g, 'it\\'s', `x${y / 2}\n`) / b /* c */ // d\n"
  const { code, bare } = scan(text)
  expect(code).toBe(
    "a(/[/'\"]/g, 'it\\'s', `x${y / 2}\n`) / b                \n".replace(/ +\n$/, `${' '.repeat(13)}\n`),
  )
  expect(bare.length).toBe(text.length)
  expect(bare).toContain('y / 2')
  expect(bare).not.toContain('it')
})

test('imports are found in every form', () => {
  const text =
    "import a from './a.ts'\nimport * as b from '../b.ts'\nimport type { C } from './c.ts'\nimport d, { type E } from './d.ts'\n" +
    "import './e.ts'\nexport type { F } from './f.ts'\n// import g from './g.ts'\nimport h from 'h'\n"
  expect(importsOf('x/y.ts', scan(text)).map(({ path, typeOnly, line }) => [path, typeOnly, line])).toEqual([
    ['x/a.ts', false, 1],
    ['b.ts', false, 2],
    ['x/c.ts', true, 3],
    ['x/d.ts', false, 4],
    ['x/e.ts', false, 5],
    ['x/f.ts', true, 6],
  ])
})
