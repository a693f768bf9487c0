import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasCode } from '../../src/base/errors.ts'
import { encodedEventBytes, mostEventBytes } from '../../src/format/event-codec.ts'
import {
  decodeFileHeader,
  encodeFileHeader,
  journalFileName,
  parseJournalFileName,
} from '../../src/format/journal-file.ts'
import {
  decodeFrame,
  findFrame,
  frameKeepFrom,
  frameLengthAt,
  frameNumber,
  isWholeFrame,
  streamSeed,
} from '../../src/format/journal-frame.ts'
import {
  buildFrame,
  expectedFrame,
  frameParts,
  SEED,
  STREAM,
  showFrame,
  simpleFrame,
} from '../support/journal-frames.ts'

test('what an event takes at most is never less than it takes', () => {
  fc.assert(
    fc.property(frameParts, ({ changes }) => {
      for (const { change } of changes) expect(mostEventBytes(change)).toBeGreaterThanOrEqual(encodedEventBytes(change))
    }),
  )
})

const safeNumber = fc.integer({ min: 1, max: 2 ** 50 })

test('a frame gives back everything that went into it, bit for bit', () => {
  fc.assert(
    fc.property(safeNumber, safeNumber, safeNumber, frameParts, (number, sequence, keepFrom, parts) => {
      const first = sequence % 1_000_000_000
      const frame = buildFrame(number, first, parts, keepFrom)
      expect(isWholeFrame(frame, SEED)).toBe(true)
      expect(frameLengthAt(frame, 0)).toBe(frame.length)
      expect([frameNumber(frame), frameKeepFrom(frame)]).toEqual([number, keepFrom])
      expect(showFrame(frame)).toEqual(expectedFrame(number, first, parts, keepFrom))
    }),
  )
})

test('any changed bit, any other length and any other stream is noticed', () => {
  fc.assert(
    fc.property(frameParts, fc.nat(), fc.nat(7), fc.integer({ min: 1, max: 200 }), (parts, where, bit, cut) => {
      const frame = buildFrame(1, 1, parts)
      const flipped = Uint8Array.from(frame)
      const at = where % frame.length
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
      expect(isWholeFrame(flipped, SEED)).toBe(false)
      expect(isWholeFrame(frame.subarray(0, Math.max(0, frame.length - cut)), SEED)).toBe(false)
      expect(isWholeFrame(frame, streamSeed('01KAJ0QZX3N5V7E8T9RYBWDCFH'))).toBe(false)
    }),
  )
})

test('decoding damaged bytes ends in an error or a frame, never outside the bytes', () => {
  fc.assert(
    fc.property(
      frameParts,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (parts, edits) => {
        const frame = buildFrame(1, 1, parts)
        for (const [at, value] of edits) frame[at % frame.length] = value
        try {
          showFrame(frame)
        } catch (error) {
          expect(hasCode(error, 'JOURNAL_CORRUPT')).toBe(true)
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('a frame is found behind damage, and nothing is found where there is none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), frameParts, (junk, parts) => {
      const frame = buildFrame(7, 1, parts)
      const bytes = Buffer.concat([junk, Buffer.from('TMF2'), frame, Buffer.alloc(100)])
      expect(findFrame(bytes, 0, SEED)).toBe(junk.length + 4)
      expect(findFrame(bytes, junk.length + 5, SEED)).toBe(null)
      expect(findFrame(bytes.subarray(0, junk.length + 4 + frame.length - 1), 0, SEED)).toBe(null)
    }),
  )
})

test('frames of several MiB are built and read', () => {
  const frame = simpleFrame(1, 9 * 1024 * 1024)
  expect(isWholeFrame(frame, SEED)).toBe(true)
  expect(decodeFrame(frame).eventCount).toBe(1)
})

test('a file header gives back what it was made of, and a changed bit is noticed', () => {
  fc.assert(
    fc.property(safeNumber, safeNumber, fc.nat(63), fc.nat(7), (file, firstFrame, at, bit) => {
      const header = { file, firstFrame, stream: STREAM }
      const bytes = encodeFileHeader(header)
      expect(decodeFileHeader(bytes)).toEqual(header)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
      expect(decodeFileHeader(bytes)).toBe(null)
      expect(parseJournalFileName(journalFileName(file))).toBe(file)
    }),
  )
})
