import { expect, test } from 'vitest'
import { sealJson, sealJsonList, unsealJson } from '../../src/format/sealed-json.ts'

test.each([
  [[]],
  [[['one', 1, { a: 'é "\\ 𝄞' }]]],
  [Array.from({ length: 500 }, (_, n) => [n, null, `row ${n}`, { nested: [[n]] }])],
])('a list of %j is sealed to the bytes that it has as a whole', (rows) => {
  const members = { format: 1, run: 'r"', level: 2 }
  const bytes = sealJsonList(members, 'chains', rows)
  expect(Buffer.from(bytes).toString()).toBe(Buffer.from(sealJson({ ...members, chains: rows })).toString())
  expect(unsealJson(bytes)).toEqual({ ...members, chains: rows })
})
