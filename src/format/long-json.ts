import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { concat, utf8 } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import { beyondLimit, parseJson } from './bounded-json.ts'
import { SEALED_START, SEALED_ZEROS, unsealJson } from './sealed-json.ts'

/*
 * A file of sealed-json with one list that may be long, the last of its members: every entry has a line of its own, so
 * that it can be written and read in slices, between which the event loop turns.
 *
 *   {"sha256":"…",…,"timeline":{…,"segments":[
 *   {…},
 *   {…}
 *   ]}}
 *
 * It is one JSON object like any other: who does not care about lines reads it whole.
 */

/** Entries and bytes of a slice: some two milliseconds of work. */
const SLICE_ENTRIES = 500
const SLICE_BYTES = 256 * 1024
const NEWLINE = 0x0a
const COMMA = 0x2c
const BRACKETS = utf8('[]')

/**
 * The bytes of a file, and their SHA-256; `members` ends with an empty list, whose entries these are. Errors: `LIMIT_EXCEEDED`,
 * with `what` as its name.
 */
export async function sealLong(
  members: object,
  entries: readonly object[],
  what: string,
): Promise<{ readonly bytes: Uint8Array; readonly sha256: string }> {
  const shell = JSON.stringify({ sha256: SEALED_ZEROS, ...members })
  const at = shell.lastIndexOf('[]') + 1
  const parts: Uint8Array[] = [utf8(shell.slice(0, at))]
  let size = shell.length
  for (let i = 0; i < entries.length; i += SLICE_ENTRIES) {
    const lines = entries.slice(i, i + SLICE_ENTRIES).map((entry) => JSON.stringify(entry))
    const part = utf8(`${i === 0 ? '' : ','}\n${lines.join(',\n')}`)
    parts.push(part)
    size += part.length
    if (size > LIMITS.jsonBytes) throw beyondLimit(what, 'larger than any reader takes')
    await setImmediate()
  }
  parts.push(utf8(`${entries.length === 0 ? '' : '\n'}${shell.slice(at)}\n`))
  const bytes = concat(parts)
  bytes.set(utf8(await hashOf(bytes)), SEALED_START.length)
  return { bytes, sha256: await hashOf(bytes) }
}

/** A file that was read: its members, and the entries of its long list where it has one that stands line by line. */
export interface LongFile<T> {
  readonly members: Readonly<Record<string, unknown>>
  /** The list stands empty in `members`. Null where the file has none. */
  readonly entries: readonly T[] | null
  /** Of the whole file. */
  readonly sha256: string
}

/** Reads a file; null where the checksum is wrong, or the file or an entry (`areEntries`) is none of these. */
export async function unsealLong<T>(
  bytes: Uint8Array,
  areEntries: (values: readonly unknown[]) => values is readonly T[],
): Promise<LongFile<T> | null> {
  const sha256 = await hashOf(bytes)
  const first = bytes.indexOf(NEWLINE)
  const last = bytes.lastIndexOf(NEWLINE, bytes.length - 2)
  if (first < 0 || last <= first) {
    const members = unsealJson(bytes)
    return members === null ? null : { members, entries: null, sha256 }
  }
  if (bytes.length > LIMITS.jsonBytes || !(await isSealed(bytes))) return null
  try {
    const shell = parseJson(concat([bytes.subarray(0, first), bytes.subarray(last)]))
    if (typeof shell !== 'object' || shell === null) return null
    const { sha256: _, ...members } = shell as Record<string, unknown>
    const entries = await parseLines(bytes.subarray(first + 1, last), areEntries)
    return entries === null ? null : { members, entries, sha256 }
  } catch (error) {
    // A checksum that fits says nothing of what stands behind it.
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) return null
    throw error
  }
}

async function parseLines<T>(
  lines: Uint8Array,
  areEntries: (values: readonly unknown[]) => values is readonly T[],
): Promise<readonly T[] | null> {
  const entries: T[] = []
  for (let start = 0; start < lines.length; ) {
    const found = lines.indexOf(NEWLINE, Math.min(start + SLICE_BYTES, lines.length))
    const end = found < 0 ? lines.length : found
    const slice = lines.subarray(start, lines[end - 1] === COMMA ? end - 1 : end)
    const values = parseJson(concat([BRACKETS.subarray(0, 1), slice, BRACKETS.subarray(1)]))
    if (!Array.isArray(values) || !areEntries(values)) return null
    for (const value of values) entries.push(value)
    start = end + 1
    await setImmediate()
  }
  return entries
}

/** Whether the checksum of a file is that of its content. */
async function isSealed(bytes: Uint8Array): Promise<boolean> {
  const end = SEALED_START.length + SEALED_ZEROS.length
  const given = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1')
  const blank = utf8(SEALED_START + SEALED_ZEROS)
  return given === SEALED_START + (await hashOf(blank, bytes.subarray(end)))
}

async function hashOf(...parts: readonly Uint8Array[]): Promise<string> {
  const hash = createHash('sha256')
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 1024 * 1024) {
      hash.update(part.subarray(at, at + 1024 * 1024))
      if (part.length > 1024 * 1024) await setImmediate()
    }
  }
  return hash.digest('hex')
}
