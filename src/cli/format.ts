import { type Ulid, ulidTime } from '../model/ulid.ts'

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** `1536` as `1.5 KiB`. */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

/** `1234567` as `1,234,567`. */
export function countText(count: number): string {
  return count.toLocaleString('en-US')
}

/** A number with its noun: `1 event`, `2 events`. */
export function plural(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** Milliseconds as `320 ms`, `4.2 s`, `12 min`, `3.5 h` or `40 d`. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  return ms < 172_800_000 ? `${(ms / 3_600_000).toFixed(1)} h` : `${Math.round(ms / 86_400_000)} d`
}

/** RFC 3339 in UTC of a ULID's time part. */
export function timeText(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}

/** Control characters would move the cursor or change the terminal: they are shown escaped. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => {
    return char === '\n' ? '\\n' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** At most `length` characters, the end cut off. */
export function shortened(text: string, length: number): string {
  const chars = [...text]
  return chars.length <= length ? text : `${chars.slice(0, length - 1).join('')}…`
}

/** Rows as aligned columns, two spaces apart; columns whose cells all look like numbers stand to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], indent = ''): string[] {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] ?? ''))))
  const right = header.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^-?[\d,.]+( [KMGT]?i?B)?$/.test(row[column] ?? '')),
  )
  return all.map((row) => {
    const cells = widths.map((width, column) => padded(row[column] ?? '', width, right[column] ?? false))
    return `${indent}${cells.join('  ')}`.trimEnd()
  })
}

/** Names and values as two columns. */
export function pairs(entries: readonly (readonly [string, string])[], indent = ''): string[] {
  const width = Math.max(...entries.map(([name]) => widthOf(name)))
  return entries.map(([name, value]) => `${indent}${padded(name, width, false)}  ${value}`.trimEnd())
}

function padded(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)))
  return right ? space + text : text + space
}

/** In code points: near enough for alignment. */
function widthOf(text: string): number {
  return [...text].length
}
