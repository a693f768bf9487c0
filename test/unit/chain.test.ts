import { expect, test } from 'vitest'
import { equalBytes } from '../../src/base/bytes.ts'
import { Chain } from '../../src/capture/chain.ts'
import { type Image, type Item, SoundImage } from '../../src/model/event.ts'
import { recordImage } from '../support/model-database.ts'

const item = (id: string): Item => ({ kind: 'record', resource: 'r', id })
const at = (n: number): string => `01KAAAAAAAAAAAAAAAAAAA${String(n).padStart(4, '0')}`

function chain(isAloneSince: (ulid: string) => boolean, bytes?: number): Chain {
  return new Chain({ isAloneSince, mark: () => at(9999) }, bytes)
}

function sameBytes(a: Image | null | undefined, b: Image): boolean {
  return a != null && equalBytes(a.json, b.json) && equalBytes(a.raw, b.raw)
}

test('a state that is not the last known one breaks the chain, unless another stream may explain it', () => {
  const asked: string[] = []
  let alone = true
  const one = chain((ulid) => {
    asked.push(ulid)
    return alone
  })
  const [a, b] = [recordImage({ n: 1 }), recordImage({ n: 2 })]
  expect(one.breaks([item('a')], [a])).toEqual([]) // nothing is known of it yet
  expect(one.imageOf(item('a'))).toBe(undefined)
  one.note(item('a'), a, at(1))
  expect(sameBytes(one.imageOf(item('a')), a)).toBe(true)
  expect(one.breaks([item('a')], [recordImage({ n: 1 })])).toEqual([])
  expect(asked).toEqual([])
  const breaks = one.breaks([item('b'), item('a')], [a, b])
  expect(breaks).toMatchObject([{ ...item('a'), after: b, interval: { after: at(1), before: at(9999) } }])
  expect(sameBytes(breaks[0]?.before, a)).toBe(true)
  alone = false
  expect(one.breaks([item('b'), item('a')], [a, b])).toEqual([])
  expect(asked).toEqual([at(1), at(1)])
  alone = true
  one.note(item('a'), null, at(2))
  expect(one.imageOf(item('a'))).toBe(null)
  expect(one.breaks([item('a')], [null])).toEqual([])
  expect(one.breaks([item('a')], [a])).toMatchObject([{ before: null, after: a }])
  one.forget([item('a')])
  expect(one.breaks([item('a')], [a])).toEqual([])
})

test('what is remembered is bounded in bytes, the last written stays', () => {
  const one = chain(() => true, 10_000)
  const big = recordImage({ text: 'x'.repeat(900) })
  for (let i = 0; i < 100; i++) {
    one.note(item(String(i)), big, at(i))
    one.note(item('hot'), big, at(i))
  }
  const known = Array.from({ length: 100 }, (_, i) => one.breaks([item(String(i))], [null]).length)
  const count = known.reduce((sum, n) => sum + n, 0)
  // What was noted again stays until its part of the memory goes.
  expect(count).toBeGreaterThan(3)
  expect(count).toBeLessThan(10)
  expect(known.slice(-count)).toEqual(Array(count).fill(1))
  expect(one.breaks([item('hot')], [null])).toHaveLength(1)
  one.note(item('hot'), recordImage({ text: 'x'.repeat(20_000) }), at(200)) // larger than the bound
  expect(one.breaks([item('hot')], [null])).toEqual([])
})

test('an image is remembered as it is, and what is given out of it stays when it is forgotten', () => {
  const one = chain(() => true, 20_000)
  const [json, raw] = [Buffer.from('{"id":"a"}'), Buffer.from([0x80])]
  one.note(item('a'), new SoundImage(json, raw), at(1))
  one.note(item('b'), { json, raw: null }, at(2))
  one.note(item('c'), { json, raw: Buffer.alloc(0) }, at(3))
  json.fill('x')
  const [a, b, c] = ['a', 'b', 'c'].map((id) => one.imageOf(item(id)))
  for (let i = 0; i < 100; i++) one.note(item(`filler ${i}`), recordImage({ text: 'y'.repeat(900) }), at(i))
  expect(one.imageOf(item('a'))).toBe(undefined)
  expect([a instanceof SoundImage, b instanceof SoundImage]).toEqual([true, false])
  expect([a, b, c].map((image) => [String(image?.json), image?.raw?.join()])).toEqual([
    ['{"id":"a"}', '128'],
    ['{"id":"a"}', undefined],
    ['{"id":"a"}', ''],
  ])
})
