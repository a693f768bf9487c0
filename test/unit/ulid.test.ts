import fc from 'fast-check'
import { decodeTime, isValid } from 'ulid'
import { expect, test } from 'vitest'
import {
  firstUlidAt,
  isUlid,
  isUlidBytes,
  lastUlidAt,
  previousUlid,
  UlidGenerator,
  ulidTime,
} from '../../src/model/ulid.ts'

test('ULIDs increase whatever the clock does, and never fall behind it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 2 ** 41, noNaN: true }), { minLength: 2, maxLength: 200 }),
      (times) => {
        let now = 0
        const generator = new UlidGenerator(() => now)
        let last = ''
        for (const time of times) {
          now = time
          const ulid = generator.next()
          expect(ulid > last).toBe(true)
          expect(isUlid(ulid) && isValid(ulid)).toBe(true)
          expect(decodeTime(ulid)).toBe(ulidTime(ulid))
          expect(ulidTime(ulid)).toBeGreaterThanOrEqual(Math.floor(time))
          last = ulid
        }
      },
    ),
  )
})

test('a generator carries a full millisecond over into the next', () => {
  const generator = new UlidGenerator(() => 1000)
  let last = ''
  for (let i = 0; i < 70_000; i++) {
    const ulid = generator.next()
    expect(ulid > last).toBe(true)
    last = ulid
  }
  expect(ulidTime(last)).toBe(1001)
})

test('advanceTo makes later ULIDs greater than one of another stream', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      (a, b) => {
        const ahead = new UlidGenerator(() => 5000.5, a)
        const behind = new UlidGenerator(() => 100, b)
        const seen = ahead.next()
        behind.advanceTo(seen)
        expect(behind.next() > seen).toBe(true)
      },
    ),
  )
})

test('bounds of a millisecond enclose its ULIDs, and nothing lies between a ULID and the one before it', () => {
  const generator = new UlidGenerator(() => 1_763_600_000_123.4)
  const ulid = generator.next()
  expect(firstUlidAt(1_763_600_000_123) < ulid && ulid < lastUlidAt(1_763_600_000_123)).toBe(true)
  expect(previousUlid('01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe('01ARZ3NDEKTSV4RRFFQ69G5FAT')
  expect(previousUlid('01ARZ3NDEKTSV4RRFFQ69G5F00')).toBe('01ARZ3NDEKTSV4RRFFQ69G5EZZ')
})

test('a time that needs more than 48 bits makes no ULID', () => {
  const most = `7${'Z'.repeat(25)}`
  expect([isUlid(most), ulidTime(most)]).toEqual([true, 2 ** 48 - 1])
  for (const first of '8Z') expect(isUlid(first + '0'.repeat(25))).toBe(false)
})

test('what is a ULID as text is one as bytes, and nothing else is', () => {
  const character = fc.constantFrom(...'0127789ABHIJKLMNOPTUVZabz!/:@[`é')
  fc.assert(
    fc.property(fc.array(character, { minLength: 24, maxLength: 27 }), fc.nat(3), (characters, before) => {
      const value = characters.join('')
      const data = Buffer.from(`${'7'.repeat(before)}${value}7`)
      expect(isUlidBytes(data, before, data.length - 1)).toBe(isUlid(value))
    }),
    { numRuns: 3000 },
  )
  const valid = firstUlidAt(1_760_000_000_000)
  for (let at = 0; at < 26; at++) {
    for (const other of '0789AILOUZz') {
      const value = valid.slice(0, at) + other + valid.slice(at + 1)
      expect(isUlidBytes(Buffer.from(value), 0, 26)).toBe(isUlid(value))
    }
  }
})
