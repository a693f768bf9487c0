import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type ErrorCode, TidemarkError } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { parseMemory, parseRecordName } from '../../src/cli/arguments.ts'
import { shellQuoted } from '../../src/cli/command.ts'
import { confirmed } from '../../src/cli/confirm.ts'
import { exitCodeOf } from '../../src/cli/exit-codes.ts'
import { changedFields, fieldText } from '../../src/cli/fields.ts'
import { bytesText, printable, table } from '../../src/cli/format.ts'
import { advanceText, progressLine } from '../../src/cli/progress.ts'
import { previewLines } from '../../src/cli/restore-text.ts'
import { statusCommand } from '../../src/cli/status.ts'
import type { StoreOpener } from '../../src/cli/stores.ts'
import { takeBackLines } from '../../src/cli/take-back.ts'
import { type Output, painter, type Terminal } from '../../src/cli/terminal.ts'
import { filesRead } from '../../src/cli/verify.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** A terminal that is one, or is none, and what was written to its stderr. */
function terminal(
  isTTY: boolean,
  environment: Terminal['environment'] = {},
): { terminal: Terminal; written(): string } {
  let text = ''
  const stream = (): Output => Object.assign(new PassThrough(), { isTTY, columns: 120 })
  const err = stream()
  err.on('data', (part: Buffer) => {
    text += part.toString()
  })
  const input = Object.assign(new PassThrough(), { isTTY })
  return { terminal: { out: stream(), err, input, environment }, written: () => text }
}

test('a record name is split at the first slash, unless the resource is given', () => {
  expect(parseRecordName('users/a/b//c', undefined)).toEqual({ resource: 'users', id: 'a/b//c' })
  expect(parseRecordName('users/', undefined)).toEqual({ resource: 'users', id: '' })
  expect(parseRecordName('a/b', 'x/y')).toEqual({ resource: 'x/y', id: 'a/b' })
  for (const bad of ['users', '/u1', '']) expect(() => parseRecordName(bad, undefined)).toThrow(TidemarkError)
})

test('memory is MiB', () => {
  expect(parseMemory('64')).toBe(67_108_864)
  expect(parseMemory(undefined)).toBeUndefined()
  for (const bad of ['0', '-1', '1e3', '12MiB', '']) expect(() => parseMemory(bad)).toThrow(TidemarkError)
})

test('every kind of error has its exit code', () => {
  const codes: [ErrorCode, number][] = [
    ['OPTION_INVALID', 2],
    ['ADAPTER_MISSING', 2],
    ['STORE_NOT_FOUND', 3],
    ['MOMENT_UNREACHABLE', 3],
    ['SEGMENT_CORRUPT', 4],
    ['HISTORY_GAP', 4],
    ['CONFIRMATION_NEEDED', 5],
    ['STORE_FOREIGN', 5],
    ['STORE_DENIED', 6],
    ['STORE_FULL', 6],
    ['LIMIT_EXCEEDED', 6],
    ['STORE_UNSUPPORTED', 2],
    ['STORE_UNAVAILABLE', 6],
  ]
  for (const [code, exit] of codes)
    expect([code, exitCodeOf(new TidemarkError(code, '', { hint: '' }))]).toEqual([code, exit])
  expect(exitCodeOf(new Error('?'))).toBe(1)
})

/** What `tidemark status` prints. */
async function statusText(store: string): Promise<string> {
  let text = ''
  const { terminal: around } = terminal(false)
  const out = Object.assign(new PassThrough(), { isTTY: false })
  out.on('data', (part: Buffer) => {
    text += part.toString()
  })
  const adapter = { handles: () => false, open: () => Promise.reject(new Error('none')) }
  const stores: StoreOpener = async (where) => where
  expect(await statusCommand({ store }, { terminal: { ...around, out }, adapter, stores })).toBe(0)
  return text
}

test('status lists the last snapshots, and says how many there are before', async () => {
  const store = 'memory:many-snapshots'
  const database = new ModelDatabase()
  const capture = await Tidemark.capture({ store, source: database, ack: 'store' })
  await capture.flush()
  for (let n = 0; n < 11; n++) {
    await database.write({ kind: 'record', resource: 'r', id: 'a' }, recordImage({ n }))
    await capture.flush()
    await capture.snapshot()
  }
  const { snapshots } = await capture.status()
  await capture.close()
  const text = await statusText(store)
  expect(text).toContain(`2 earlier ones, the first of ${snapshots[0]?.time}; --json has all`)
  const listed = snapshots.map(({ ulid }) => text.includes(ulid))
  expect(listed).toEqual([false, false, ...Array.from({ length: 10 }, () => true)])
})

test('status tells of a catalogue that fills up, before it is full', async () => {
  const url = 'memory:filling'
  const capture = await Tidemark.capture({ store: url, source: new ModelDatabase(), ack: 'store' })
  await capture.close()
  expect(await statusText(url)).not.toContain('that it can have')
  const limits: { rootBytes: number } = LIMITS
  const { rootBytes } = LIMITS
  const reader = await Tidemark.open({ store: url })
  const { catalogue } = await reader.status()
  await reader.close()
  expect(catalogue.limitBytes).toBe(rootBytes)
  try {
    limits.rootBytes = catalogue.bytes * 2 - 1
    expect(await statusText(url)).toMatch(/catalogue .* that it can have: many streams are open/)
  } finally {
    limits.rootBytes = rootBytes
  }
})

test('differences of fields are told field by field, and cannot move the cursor', () => {
  const changes = changedFields('{"a":1,"b":[1],"c":"x"}', '{"b":[1],"c":"y\\u001b[2J\\n","__proto__":2}')
  expect(changes.map(fieldText)).toEqual(['c: "x" -> "y\\u001b[2J\\n"', '__proto__: 2', 'a: 1 -> (none)'])
  expect(printable('\u009b1m\u2028\n')).toBe('\\u009b1m\\u2028\\n')
})

test('tables are aligned, numbers to the right', () => {
  expect(
    table(
      ['name', 'count'],
      [
        ['é', '5'],
        ['long name', '1,234'],
      ],
      '  ',
    ),
  ).toEqual(['  name       count', '  é              5', '  long name  1,234'])
  expect([0, 1023, 1024, 1536, 200 * 2 ** 20].map(bytesText)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '200 MiB',
  ])
  expect([shellQuoted('file:./a'), shellQuoted("it's")]).toEqual(['file:./a', "'it'\\''s'"])
})

describe('a terminal', () => {
  test('is painted only where it is one, and NO_COLOR is unset', () => {
    const paint = (isTTY: boolean, environment: Terminal['environment']): string => {
      const { terminal: one } = terminal(isTTY, environment)
      return painter(one.out, one)('red', 'x')
    }
    expect(paint(true, {})).toBe('\u001b[31mx\u001b[39m')
    expect([paint(false, {}), paint(true, { NO_COLOR: '1' }), paint(true, { TERM: 'dumb' })]).toEqual(['x', 'x', 'x'])
  })

  test('sees progress, and nothing else does', () => {
    expect(advanceText({ rows: 5000, totalRows: 20_000, bytes: 2 ** 20 }, 1000, 'rows')).toBe(
      '5,000 of 20,000 rows, 1.0 MiB, 5,000 rows/s, 3.0 s left',
    )
    for (const isTTY of [true, false]) {
      const { terminal: one, written } = terminal(isTTY)
      const line = progressLine(one, 'rows')
      line.show({ rows: 10, totalRows: 20, bytes: 2048 })
      line.show({ rows: 25, totalRows: 20, bytes: 4096 })
      line.stop()
      expect(written().includes('10 of 20 rows, 2.0 KiB')).toBe(isTTY)
      if (!isTTY) expect(written()).toBe('')
    }
  })

  test('is asked; where there is none, the answer is no', async () => {
    expect(await confirmed('Sure?', terminal(false).terminal)).toBe(false)
    for (const [answer, yes] of [
      ['yes', true],
      ['y', false],
      ['', false],
    ] as const) {
      const { terminal: one, written } = terminal(true, { NO_COLOR: '1' })
      const asked = confirmed('Sure?', one)
      const input = one.input as PassThrough
      input.write(`${answer}\n`)
      expect([answer, await asked]).toEqual([answer, yes])
      expect(written()).toContain('Sure? Type yes: ')
    }
  })
})

test('the bar of a verification moves with what takes time, however many small files there are', () => {
  const shown: number[] = []
  const onFile = filesRead(4, ({ rows, totalRows }) => shown.push(rows / totalRows))
  for (let i = 1; i <= 500; i++) onFile(`timeline/${String(i).padStart(12, '0')}.json`, 100)
  expect(Math.max(...shown)).toBe(0)
  for (const key of ['segment/a', 'segment/b', 'snapshot/1/s3db.json', 'snapshot/1/users.jsonl.gz']) onFile(key, 1000)
  expect(shown.slice(-4)).toEqual([0.25, 0.5, 0.75, 0.75])
  for (const key of ['segment/c', 'segment/of another attempt']) onFile(key, 1000)
  expect(shown.at(-1)).toBe(1)
})

test('a preview says what newer means, where there is any', () => {
  const counts = { added: 0, changed: 3, removed: 1, unchanged: 5, newer: 2 }
  const told = previewLines({ ...counts, resources: new Map(), samples: [] }, (_style, text) => text)
  expect(told.filter((line) => line.startsWith('newer:'))).toEqual([
    'newer: 2 of them were written after the moment, and go back to what they were',
  ])
  const none = previewLines({ ...counts, newer: 0, resources: new Map(), samples: [] }, (_style, text) => text)
  expect(none.some((line) => line.startsWith('newer:'))).toBe(false)
})

test('what takes a restore in place back is a command, with all that was typed; a connection string that may be secret is not told', () => {
  const result = { before: 'before:01M8', target: 'file:///var/lib/my app' }
  const typed = { to: 'latest', target: result.target, yes: true }
  const linesOf = (more: object, told: { before: string | null; target: string } = result): readonly string[] =>
    takeBackLines(told, { ...typed, ...more })
  expect(linesOf({})).toEqual([
    'To take it back:',
    "  tidemark restore --to before:01M8 --target 'file:///var/lib/my app' --yes",
  ])
  const all = {
    resource: ['users', 'a b'],
    id: ['u1'],
    onConflict: 'overwrite',
    adapter: './a.js',
    mapSchema: true,
    inPlace: true,
    journal: '/j',
    memory: '64',
    store: 'azure://a/c',
    storeAdapter: './s.js',
  } as const
  expect(linesOf(all)[1]).toBe(
    "  tidemark restore --to before:01M8 --target 'file:///var/lib/my app' --resource users 'a b' --id u1 --on-conflict overwrite" +
      ' --adapter ./a.js --journal /j --memory 64 --map-schema --in-place --store azure://a/c --store-adapter ./s.js --yes',
  )
  const secret = linesOf({ target: 's3://key:secret@bucket/app' }, { ...result, target: 's3://bucket/app' })
  expect(secret).toEqual(['To take it back, type the same command with --to before:01M8'])
  expect(linesOf({ id: Array.from({ length: 300 }, (_, i) => `user-${i}`) })).toEqual(secret)
  expect(linesOf({}, { ...result, before: null })).toEqual([])
})
