/** A source text without what would mislead a regular expression; every character stands where it stood. */
export interface Scanned {
  /** Comments are blank. */
  readonly code: string
  /** Comments and the insides of strings, templates and regular expressions are blank. */
  readonly bare: string
}

const REGEXP_MAY_FOLLOW = /(?:^|[(,=:[!&|?{};+\-*%<>~]|\breturn|\btypeof|\bcase|=>)\s*$/

/** Blanks comments and literals of TypeScript. Small on purpose: it knows the tokens, not the grammar. */
export function scan(text: string): Scanned {
  const code = [...text]
  const bare = [...text]
  const templates: number[] = []
  const blank = (target: string[], from: number, to: number): void => {
    for (let i = from; i < to; i++) if (target[i] !== '\n') target[i] = ' '
  }
  let depth = 0
  for (let i = 0; i < text.length; ) {
    const char = text[i]
    const end = endOfToken(text, i, bare)
    if (text.startsWith('//', i) || text.startsWith('/*', i)) {
      blank(code, i, end)
      blank(bare, i, end)
    } else if (end > i + 1) blank(bare, i + 1, end - 1)
    if (char === '`' || (char === '}' && templates.at(-1) === depth)) {
      if (char === '}') templates.pop()
      const stop = endOfTemplate(text, i + 1)
      blank(bare, i + 1, stop)
      if (text.startsWith('${', stop)) templates.push(depth)
      i = text.startsWith('${', stop) ? stop + 2 : stop + 1
      continue
    }
    if (char === '{') depth++
    if (char === '}') depth--
    i = end
  }
  return { code: code.join(''), bare: bare.join('') }
}

/** Offset behind the comment, string or regular expression that starts at `at`, or behind the one character. */
function endOfToken(text: string, at: number, before: readonly string[]): number {
  if (text.startsWith('//', at)) return indexOr(text, '\n', at, 0)
  if (text.startsWith('/*', at)) return indexOr(text, '*/', at + 2, 2)
  const char = text[at]
  if (char === "'" || char === '"') return endOfQuoted(text, at, char)
  if (char !== '/') return at + 1
  const line = before.slice(Math.max(0, at - 200), at).join('')
  return REGEXP_MAY_FOLLOW.test(line) ? endOfQuoted(text, at, '/') : at + 1
}

function indexOr(text: string, what: string, from: number, plus: number): number {
  const found = text.indexOf(what, from)
  return found < 0 ? text.length : found + plus
}

function endOfQuoted(text: string, at: number, quote: string): number {
  let inClass = false
  for (let i = at + 1; i < text.length; i++) {
    const char = text[i]
    if (char === '\\') i++
    else if (char === '\n') return i
    else if (quote === '/' && char === '[') inClass = true
    else if (char === ']') inClass = false
    else if (char === quote && !inClass) return i + 1
  }
  return text.length
}

/** Offset of the next `${` or of the closing backtick. */
function endOfTemplate(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '`' || text.startsWith('${', i)) return i
  }
  return text.length
}

/** One import or re-export of a file of ours. */
export interface Import {
  /** The file that is imported, relative to `src/`. */
  readonly path: string
  readonly typeOnly: boolean
  /** `export … from`. */
  readonly reexport: boolean
  readonly line: number
}

const IMPORT = /\b(import|export)\s+(type\s+)?(?:([\w*\s{},$]+?)\s+from\s+)?'(\.[^']+)'|\bimport\('(\.[^']+)'\)/g

/** The relative imports of the file at `path` (relative to `src/`), dynamic ones and type imports too. */
export function importsOf(path: string, { code }: Scanned): Import[] {
  return [...code.matchAll(IMPORT)].map((match) => {
    const [, keyword, type, names = '', from, dynamic] = match
    const parts = names
      .replace(/[{}]/g, ' ')
      .split(',')
      .filter((name) => name.trim() !== '')
    const allTypes = names.includes('{') && parts.length > 0 && parts.every((name) => /^\s*type\s/.test(name))
    return {
      path: resolve(path, from ?? dynamic ?? ''),
      typeOnly: type !== undefined || allTypes,
      reexport: keyword === 'export',
      line: lineAt(code, match.index),
    }
  })
}

function resolve(path: string, relative: string): string {
  const parts = path.split('/').slice(0, -1)
  for (const part of relative.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** Line number, from 1, of an offset. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
