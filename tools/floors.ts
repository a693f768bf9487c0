/**
 * The house rules of `src/`, as a check: the floors (imports go down only, type imports too), no cycles of files, no
 * barrels, one place for time, files, network and console, each type name once, small files and options, docstrings.
 *
 *   node tools/floors.ts          prints every finding as file:line and exits 1 where there is one
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Import, importsOf, lineAt, type Scanned, scan } from './scan.ts'

/** What a floor may import besides itself. */
const FLOORS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  model: ['base'],
  store: ['base'],
  format: ['base', 'model'],
  timeline: ['base', 'model', 'store', 'format'],
  capture: ['base', 'model', 'store', 'format', 'timeline'],
  restore: ['base', 'model', 'store', 'format', 'timeline'],
  upkeep: ['base', 'model', 'store', 'format', 'timeline', 'capture', 'restore'],
  engine: ['base', 'model', 'store', 'format', 'timeline', 'capture', 'restore', 'upkeep'],
  testing: ['base', 'model', 'store', 'format', 'timeline', 'capture', 'restore', 'upkeep', 'engine'],
  s3db: ['base', 'model', 'engine'],
  cli: ['base', 'model', 'engine', 's3db'],
}
/** Adapters know of lower floors what an adapter outside this package can know: the types that index.ts exports. */
const ADAPTERS = ['s3db', 'cli']
/** Above every floor; nothing imports them. */
const TOP = ['index.ts', 'testing.ts', 'bin.ts', 'main.ts']

const DISK_FILES = [
  'node-disk',
  'process-mark',
  'stream-dir',
  'stream-door',
  'stream-lock',
  'stream-peers',
  'stream-socket',
].map((name) => `capture/${name}.ts`)
const MOST_LINES = 400
const MOST_FIELDS = 8

interface Banned {
  readonly pattern: RegExp
  readonly what: string
  readonly allowed: (path: string) => boolean
  /** Look at strings too (imports), or at the code alone. */
  readonly strings?: boolean
}

const BANNED: readonly Banned[] = [
  {
    pattern:
      /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.(now|timeOrigin)\b|(?<!\.)\b(setTimeout|setInterval)\b(?:\(| as)/g,
    what: 'time is read and waited for in base/clock only',
    allowed: (path) => path === 'base/clock.ts',
  },
  {
    pattern: /'node:(fs|fs\/promises|net|http|https|http2|tls|dgram|child_process)'/g,
    what: 'files, network and processes belong to store and the disk seam of capture',
    allowed: (path) => path.startsWith('store/') || DISK_FILES.includes(path),
    strings: true,
  },
  {
    pattern: /\bconsole\.|\bprocess\.(stdout|stderr)\b/g,
    what: 'only cli talks to the console',
    allowed: (path) => path.startsWith('cli/') || path === 'bin.ts' || path === 'main.ts',
  },
  { pattern: /[:<,|&(]\s*any\b(?!\s*[:(=])|\bas any\b/g, what: '`any` switches checking off', allowed: () => false },
  { pattern: /\bas unknown as\b/g, what: '`as unknown as` switches checking off', allowed: () => false },
  { pattern: /\bcatch\s*(\([^)]*\)\s*)?\{\s*\}/g, what: 'a catch without a decision', allowed: () => false },
]

/** Every finding in `files` (path relative to `src/` -> text), as `path:line: what`. */
export function findings(files: ReadonlyMap<string, string>): string[] {
  const scanned = new Map([...files].map(([path, text]) => [path, scan(text)]))
  const imports = new Map([...scanned].map(([path, one]) => [path, importsOf(path, one)]))
  const found: string[] = []
  const seams = new Set((imports.get('index.ts') ?? []).map(({ path }) => path))
  for (const [path, text] of files) {
    const one = scanned.get(path) ?? scan(text)
    for (const link of imports.get(path) ?? []) found.push(...importFindings(path, link, seams))
    found.push(...bannedIn(path, text, one), ...sizesIn(path, text, one), ...undocumented(path, text, one))
  }
  return [...found, ...cyclesIn(imports), ...secondDeclarations(scanned)]
}

function importFindings(path: string, link: Import, seams: ReadonlySet<string>): string[] {
  const at = `${path}:${link.line}`
  const found: string[] = []
  const [from, to] = [floorOf(path), floorOf(link.path)]
  if (link.reexport && !TOP.includes(path)) found.push(`${at}: re-exports ${link.path}: no barrels below index.ts`)
  const isProgram = path === 'bin.ts' && link.path === 'main.ts'
  if (TOP.includes(link.path) && !isProgram) found.push(`${at}: imports ${link.path}, which is above everything`)
  if (TOP.includes(path) || from === to) return found
  const allowed = FLOORS[from]
  if (allowed === undefined) return [...found, `${at}: ${from}/ is no floor`]
  const seam = ADAPTERS.includes(from) && link.typeOnly && seams.has(link.path)
  if (!allowed.includes(to) && !seam) {
    const why = ADAPTERS.includes(from) ? ', as types what index.ts exports,' : ''
    found.push(`${at}: imports ${link.path}: ${from} may import ${allowed.join(', ') || 'nothing'}${why} and itself`)
  }
  return found
}

function floorOf(path: string): string {
  return path.split('/')[0] ?? ''
}

function bannedIn(path: string, text: string, { code, bare }: Scanned): string[] {
  const found: string[] = []
  for (const { pattern, what, allowed, strings } of BANNED) {
    if (allowed(path)) continue
    for (const match of (strings === true ? code : bare).matchAll(pattern)) {
      found.push(`${path}:${lineAt(text, match.index)}: ${match[0].trim()}: ${what}`)
    }
  }
  for (const match of text.matchAll(/@ts-(ignore|expect-error|nocheck)|biome-ignore-all/g)) {
    found.push(`${path}:${lineAt(text, match.index)}: ${match[0]} switches checking off`)
  }
  // A rejection may be dropped where somebody else has it; the comment there says who.
  for (const match of bare.matchAll(/\.catch\(\(\)\s*=>\s*(\{\s*\}|undefined)\)/g)) {
    const line = lineAt(text, match.index)
    const lines = text.split('\n').slice(Math.max(0, line - 2), line)
    if (!lines.some((near) => near.includes('//'))) {
      found.push(`${path}:${line}: a rejection is dropped, and no comment on the line or above it says who has it`)
    }
  }
  return found
}

function sizesIn(path: string, text: string, { bare }: Scanned): string[] {
  const found: string[] = []
  const lines = text.split('\n').length - 1
  if (lines > MOST_LINES) found.push(`${path}:${MOST_LINES}: ${lines} lines; a file has at most ${MOST_LINES}`)
  for (const match of bare.matchAll(/\binterface (\w*Options)\b[^{]*\{/g)) {
    const body = bodyAfter(bare, match.index + match[0].length)
    const line = lineAt(bare, match.index)
    const fields = topLevel(body).match(/^\s*(?:readonly\s+)?\w+\??\s*[:(]/gm)?.length ?? 0
    if (fields > MOST_FIELDS) found.push(`${path}:${line}: ${match[1]} has ${fields} fields, more than ${MOST_FIELDS}`)
    if (/^\s*(?:readonly\s+)?\[/m.test(body)) found.push(`${path}:${line}: ${match[1]} has an index signature`)
  }
  return found
}

/** The text up to the brace that closes the one before `start`. */
function bodyAfter(code: string, start: number): string {
  let depth = 1
  for (let i = start; i < code.length; i++) {
    if (code[i] === '{') depth++
    else if (code[i] === '}' && --depth === 0) return code.slice(start, i)
  }
  return code.slice(start)
}

/** Without what stands in nested braces or parentheses. */
function topLevel(body: string): string {
  let depth = 0
  let out = ''
  for (const char of body) {
    if (char === '}' || char === ')') depth--
    if (depth === 0) out += char
    if (char === '{' || char === '(') depth++
  }
  return out
}

const EXPORTED =
  /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let) (\w+)/gm

function undocumented(path: string, text: string, { bare }: Scanned): string[] {
  const lines = text.split('\n')
  const found: string[] = []
  let previous = ''
  for (const match of bare.matchAll(EXPORTED)) {
    const [, name = ''] = match
    const line = lineAt(bare, match.index)
    const above = (lines[line - 2] ?? '').trimEnd()
    // Overloads are documented by the first of them.
    if (!above.endsWith('*/') && name !== previous)
      found.push(`${path}:${line}: ${name} is exported without a docstring`)
    previous = name
  }
  return found
}

function cyclesIn(imports: ReadonlyMap<string, readonly Import[]>): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const trail: string[] = []
  const visit = (path: string): void => {
    const start = trail.indexOf(path)
    if (start >= 0) {
      found.push(`${path}:1: a cycle of files: ${[...trail.slice(start), path].join(' -> ')}`)
      return
    }
    if (done.has(path)) return
    trail.push(path)
    for (const link of imports.get(path) ?? []) visit(link.path)
    trail.pop()
    done.add(path)
  }
  for (const path of imports.keys()) visit(path)
  return found
}

function secondDeclarations(scanned: ReadonlyMap<string, Scanned>): string[] {
  const first = new Map<string, string>()
  const found: string[] = []
  for (const [path, { bare }] of scanned) {
    for (const match of bare.matchAll(/^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class) (\w+)/gm)) {
      const [, name = ''] = match
      const here = `${path}:${lineAt(bare, match.index)}`
      const other = first.get(name)
      if (other === undefined) first.set(name, here)
      else if (!other.startsWith(`${path}:`))
        found.push(`${here}: ${name} is declared at ${other} too: one word, one meaning`)
    }
  }
  return found
}

/** The TypeScript files under `directory`, by path relative to it. */
function readTree(directory: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const entry of readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    if (entry.endsWith('.ts')) files.set(entry, readFileSync(`${directory}/${entry}`, 'utf8'))
  }
  return files
}

if (import.meta.main) {
  const found = findings(readTree(fileURLToPath(new URL('../src', import.meta.url))))
  for (const finding of found) console.error(`src/${finding}`)
  if (found.length > 0) process.exitCode = 1
}
