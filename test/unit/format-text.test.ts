import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetMetadata } from 'hyparquet'
import { expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { OBSERVED } from '../../src/capture/settlement.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { Event } from '../../src/model/event.ts'
import { formatHead } from '../../src/model/head.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { filesOf, sealed } from '../support/second-reader/bytes.ts'
import { readTimeline } from '../support/second-reader/timeline.ts'
import { frames } from '../support/segments.ts'
import { VECTORS } from '../support/vectors.ts'

/*
 * What schemas/FORMAT.md says in examples, numbers and tables is read out of its text and held against bytes and code.
 */
const document = readFileSync(join(import.meta.dirname, '../../schemas/FORMAT.md'), 'utf8')

/** The text of a section, with those below it. */
function section(title: string): string {
  const [, level = '', text = ''] = new RegExp(`^(#+) ${title}[^\n]*\n([\\s\\S]*)`, 'm').exec(document) ?? []
  return text.split(new RegExp(`^#{1,${level.length}} `, 'm'))[0] ?? ''
}

test('the worked example and the text form of a head are right', () => {
  const [, example = '', bytes] =
    /`(\{"id":"u1","name":"Ann"),"_tidemark":\{[^`]*"json":(\d+)\}\}`/.exec(document) ?? []
  expect(Buffer.byteLength(`${example}}`)).toBe(Number(bytes))
  expect(document).toContain('`<generation>-<64 lower-case hex digits>`')
  expect(formatHead({ generation: 12, sha256: 'a0'.repeat(32) })).toMatch(/^12-[0-9a-f]{64}$/)
  expect(section('4.6')).toContain(`    ${OBSERVED.metadata}\n`)
})

test('each row of a binary layout goes on where the row before ended', () => {
  const tables = [...document.matchAll(/^\| at \| size \| .*\n\|---\|---\|---\|\n((?:\|.*\n)+)/gm)]
  expect(tables.length).toBeGreaterThan(4)
  for (const [, rows = ''] of tables) {
    let end = 0
    for (const [, at = '', size = ''] of rows.matchAll(/^\| (\S+) \| (.*?) ?\| /gm)) {
      if (!/^\d+$/.test(at)) break // up to where its parts of any length begin
      expect(Number(at), rows).toBe(end)
      const [, count = '1', unit = ''] = /^(?:(\d+) x )?(u8|u16|u32|u64|\d+)?$/.exec(size) ?? []
      const width = unit.startsWith('u') ? Number(unit.slice(1)) / 8 : Number(unit || 0)
      end += Number(count) * width
    }
  }
})

test('the bounds are those that are checked', () => {
  const cells = [...section('1\\.').matchAll(/^\| [^|]+ \| ([^|]+) \|$/gm)].map(([, cell = '']) => cell)
  const units: ReadonlyMap<string | undefined, number> = new Map([
    ['MiB', 2 ** 20],
    ['GiB', 2 ** 30],
  ])
  const bounds = cells
    .flatMap((cell) => [...cell.matchAll(/([\d,]*\d)(?: (MiB|GiB))?/g)])
    .map(([, number = '', unit]) => Number(number.replaceAll(',', '')) * (units.get(unit) ?? 1))
  expect(new Set(bounds)).toEqual(new Set(Object.values(LIMITS)))
})

test('the columns of a segment are those of the table', () => {
  // So many that zstd makes what it is used for smaller.
  const list = Array.from({ length: 1000 }, (_, n): Event => {
    const image = { json: Buffer.from(`{"id":"u${n % 50}","n":${n}}`), raw: Buffer.alloc(40, n) }
    const context = { actor: `user ${n % 7}`, transaction: `transaction ${n}`, metadata: `{"n":${n}}` }
    const stamp = { ulid: firstUlidAt(1_790_000_000_000 + n), stream: firstUlidAt(1), sequence: n + 1 }
    const item = { kind: n % 3 === 0 ? 'object' : 'record', resource: `resource ${n % 9}`, id: `u${n % 50}` } as const
    return { ...item, stamp, operation: 'update', before: image, after: image, context }
  })
  const { bytes } = encodeSegment(frames(list), { stream: firstUlidAt(1), level: 0 })
  const {
    schema,
    row_groups: [group],
  } = parquetMetadata(Uint8Array.from(bytes).buffer)
  const found = schema.slice(1).map(({ name, repetition_type: repetition }, i) => {
    const chunk = group?.columns[i]?.meta_data
    return [
      name,
      repetition === 'OPTIONAL' ? 'yes' : 'no',
      chunk?.codec === 'ZSTD' ? 'zstd' : 'plain',
      chunk?.statistics === undefined ? '' : 'yes',
    ]
  })
  const rows = [
    ...section('6\\.').matchAll(/^\| (`[^|]+) \| [^|]+ \| [^|]+ \| (yes|no) \| (zstd|plain) \| ?(yes|) ?\|$/gm),
  ]
  const told = rows.flatMap(([, names = '', ...rest]) =>
    [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name, ...rest]),
  )
  expect(told.toSorted()).toEqual(found.toSorted())
})

test('every member that a timeline has is told', () => {
  const text = section('3\\.')
  for (const name of ['plain', 'record-keys']) {
    const { timeline } = readTimeline(filesOf(join(VECTORS, name, 'store')))
    const entries = [
      ...timeline.streams,
      ...timeline.segments,
      ...timeline.snapshots,
      ...timeline.epochs,
      ...timeline.acknowledgements,
    ]
    for (const member of new Set([timeline, ...entries].flatMap(Object.keys)))
      expect(text, member).toContain(`\`${member}\``)
  }
})

test('every member of a root and of a node is told, and where a node is named', () => {
  const text = section('3\\.')
  for (const [key, bytes] of filesOf(join(VECTORS, 'plain', 'store'))) {
    if (!/^(timeline|node)\//.test(key)) continue
    const { timeline = {}, nodes = [], ...file } = sealed<CatalogueFile>(bytes)
    const { segments, ledger = [] } = timeline
    for (const one of [file, timeline, segments ?? {}, ...(segments?.nodes ?? []), ...ledger, ...nodes])
      for (const member of Object.keys(one)) expect(text, member).toContain(`\`${member}\``)
  }
})

interface CatalogueFile {
  timeline?: { segments?: { nodes: object[] }; ledger?: object[] }
  nodes?: object[]
}

test('it can be read: short lines, short sentences, and every section that is referred to is there', () => {
  const prose = document.replaceAll(/^```\n[\s\S]*?^```\n/gm, '')
  const lines = prose.split('\n').filter((line) => !line.startsWith('|'))
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(112)
  const parts = lines.join('\n').split(/\n\n|\n(?=- |\d\. )/)
  for (const sentence of parts.flatMap((part) => part.replaceAll('\n', ' ').split(/(?<=[.:;?]) /)))
    expect(sentence.length, sentence).toBeLessThanOrEqual(320)
  const headings = new Set([...document.matchAll(/^#+ (\d+(?:\.\d+)?)/gm)].map(([, number]) => number))
  expect(headings.size).toBeGreaterThan(20)
  const referred = [...document.matchAll(/\((?:[^()`]*, )?(\d{1,2}(?:\.\d)?)(?:, (\d(?:\.\d)?))?\)/g)].flatMap(
    ([, one, two]) => [one, two],
  )
  const sections = referred.filter((one) => one !== undefined && !/^[1-9]\d/.test(one))
  for (const number of sections) expect([...headings, '0'], number).toContain(number)
})
