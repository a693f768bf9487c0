import { expect, test } from 'vitest'
import { concat, text } from '../../src/base/bytes.ts'
import { decodeLines, encodeLine } from '../../src/format/jsonl.ts'
import { type Image, isUnreadable, unreadableImage } from '../../src/model/event.ts'

import { firstUlidAt } from '../../src/model/ulid.ts'
import { LEVELS } from '../../src/restore/members.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'

const FILE = 'users.jsonl.gz'

function image(json: string): Image {
  return { json: Buffer.from(json), raw: null }
}

/** Plain ones, more than are made room for at first, and between them what JSON escapes or UTF-8 makes longer. */
const IDS = [
  '',
  ...Array.from({ length: 80 }, (_, i) => `a${i}`),
  'ä',
  '"quoted"',
  'back\\slash',
  'end\\',
  `long ${'x'.repeat(100)}`,
  `long ${'ü'.repeat(100)}`,
  'line\nbreak',
  '😀',
  '__proto__',
]

function fileOf(ids: readonly string[]): Uint8Array {
  return concat(ids.flatMap((id, i) => encodeLine(id, image(i % 2 === 0 ? '{}' : JSON.stringify({ id, i })))))
}

test('lines have the ids and images that were written, wherever their ids stand', () => {
  const lines = decodeLines(fileOf(IDS), FILE)
  expect(lines.length).toBe(IDS.length)
  const read = Array.from(lines, (line) => text(line.id))
  expect(read).toEqual(IDS)
  expect(IDS.map((_, i) => text(lines.idData(i).subarray(lines.idStart(i), lines.idEnd(i))))).toEqual(IDS)
  expect(Array.from(lines, (line) => text(line.image().json))).toEqual(
    IDS.map((id, i) => (i % 2 === 0 ? '{}' : JSON.stringify({ id, i }))),
  )
})

test('lines are the same whatever number of them was expected', () => {
  const all = Array.from(decodeLines(fileOf(IDS), FILE), (line) => text(line.image().json))
  for (const expected of [0, 1, IDS.length - 1, IDS.length, IDS.length + 1, 2 ** 40]) {
    const lines = decodeLines(fileOf(IDS), FILE, expected)
    expect(Array.from(lines, (line) => text(line.image().json))).toEqual(all)
  }
})

test('an image goes as its line for the id that it was read for, and is written anew for another one', () => {
  const lines = decodeLines(fileOf(IDS), FILE)
  expect(concat(IDS.flatMap((id, i) => encodeLine(id, lines.image(i))))).toEqual(fileOf(IDS))
  const other = IDS.map((id) => (id === '' ? 'b' : `${[...id].slice(0, -1).join('')}z`))
  const renamed = decodeLines(concat(other.flatMap((id, i) => encodeLine(id, lines.image(i)))), FILE)
  expect(Array.from(renamed, (line) => text(line.id))).toEqual(other)
})

test('of lines only those with wanted ids are given, each with its own image', () => {
  const wanted = ['ä', 'a78', 'end\\', '😀', 'not there']
  const some = decodeLines(fileOf(IDS), FILE).having(new Set(wanted))
  expect(Array.from(some, (line) => text(line.id))).toEqual(['a78', 'ä', 'end\\', '😀'])
  const [first] = some
  expect(text(first?.image().json ?? new Uint8Array())).toBe(JSON.stringify({ id: 'a78', i: IDS.indexOf('a78') }))
})

test('a damaged record is told by its line, and one that only speaks of it is none', () => {
  const item = { kind: 'record', resource: 'users', id: 'u1' } as const
  const lines = decodeLines(
    concat([
      ...encodeLine('u1', unreadableImage(item, 'its body is gone')),
      ...encodeLine('u2', image('{"id":"u2","note":"\\"_unreadable\\":"}')),
      ...encodeLine('u3', image('{"id":"u3"}')),
    ]),
    FILE,
  )
  expect([0, 1, 2].map((i) => isUnreadable(lines.image(i)))).toEqual([true, false, false])
})

async function bytesOf(level?: number): Promise<number> {
  const store = new MemoryStore()
  const options = { store, prefix: '', ulid: firstUlidAt(0), database: 'test' }
  const writer = new SnapshotWriter(level === undefined ? options : { ...options, level })
  const words = Array.from({ length: 500 }, (_, i) => `word${(i * 7919) % 500}`)
  const states = Array.from({ length: 2000 }, (_, i): ItemState => {
    const id = `u${String(i).padStart(4, '0')}`
    const json = JSON.stringify({ id, text: Array.from({ length: 9 }, (_, n) => words[(i * n * 31) % 500]).join(' ') })
    return { kind: 'record', resource: 'users', id, image: image(json) }
  })
  await writer.add(states)
  return (await writer.finish()).bytes
}

test('a file is compressed as hard as it is said, and as one that is kept where nothing is said', async () => {
  const [kept, waitedFor, unsaid] = await Promise.all([bytesOf(LEVELS.kept), bytesOf(LEVELS.waitedFor), bytesOf()])
  expect(kept).toBeLessThan(waitedFor)
  expect(unsaid).toBe(kept)
})
