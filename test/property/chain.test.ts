import { createCipheriv, createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { chainStart, digestEvent } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { Salts } from '../../src/format/segment/salts.ts'
import type { Event } from '../../src/model/event.ts'
import { allEvents, events, frames, open } from '../support/segments.ts'

function sha(...parts: (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

function u64(n: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(n))
  return bytes
}

/** The salt of an event as FORMAT.md tells it, event by event. */
function saltOf(secret: string, sequence: number): Buffer {
  const key = sha(Buffer.from(secret, 'hex'), u64(Math.floor(sequence / 256)))
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(4096))
  return stream.subarray((sequence % 256) * 16, (sequence % 256) * 16 + 16)
}

function encoded(event: Event): Buffer {
  const bytes = Buffer.alloc(encodedEventBytes(event))
  encodeEvent(bytes, 0, event, event.stamp.ulid, event.stamp.sequence)
  return bytes
}

test('the chain of a segment is what the format says, made from the events that are read back', async () => {
  await fc.assert(
    fc.asyncProperty(events('s1', 40), fc.boolean(), async (list, first) => {
      const previous = sha('what came before').toString('hex')
      const segment = encodeSegment(frames(list), { stream: 's1', level: 0, ...(first ? {} : { previous }) })
      const { reader } = await open(segment)
      const { secret = '' } = reader.chain().salts.stored
      const start = first ? sha('s1').toString('hex') : previous
      const rows = (await allEvents(reader))
        .sort((a, b) => a.stamp.sequence - b.stamp.sequence)
        .flatMap((event) => [
          u64(event.stamp.sequence),
          event.stamp.ulid,
          sha(saltOf(secret, event.stamp.sequence), encoded(event)),
        ])
      const value = sha(Buffer.from(start, 'hex'), ...rows).toString('hex')
      expect(segment.info.chain).toEqual({ previous: start, value })
      expect(reader.chain().links).toEqual([[list.at(-1)?.stamp.sequence, value]])
    }),
  )
  expect(chainStart('s1')).toBe(sha('s1').toString('hex'))
})

test('what is left of the salts gives every salt but those that are gone, and no way back to these', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 50 }),
      fc.array(fc.nat(1500), { maxLength: 5 }),
      fc.array(fc.nat(1500), { maxLength: 5 }),
      (first, goneFirst, goneThen) => {
        const last = first + 1500
        const salts = Salts.fresh()
        const [one, two] = [goneFirst, goneThen].map((list) => new Set(list.map((n) => first + n)))
        const once = salts.without(one ?? new Set(), first, last)
        const left = Salts.parse(JSON.parse(JSON.stringify(once.without(two ?? new Set(), first, last).stored)))
        const stored = JSON.stringify(left.stored)
        expect(left.stored.secret).toBeUndefined()
        for (let sequence = first; sequence <= last; sequence++) {
          const salt = Buffer.from(salts.of(sequence) ?? [])
          const isGone = one?.has(sequence) === true || two?.has(sequence) === true
          expect(left.of(sequence) === null).toBe(isGone)
          if (isGone) expect(stored).not.toContain(salt.toString('hex'))
          else expect(salt.equals(left.of(sequence) ?? Buffer.alloc(0))).toBe(true)
          // The key of its block would give it back.
          const blocks = new Map(left.stored.blocks)
          if (isGone) expect(blocks.has(Math.floor(sequence / 256))).toBe(false)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('the digest of a large event is that of its bytes as they are encoded, which are not made for it', () => {
  const salt = Buffer.alloc(16, 5)
  const stamp = { ulid: '01KAAAAAAAAAAAAAAAAAAAAAAA', stream: 's', sequence: 2 ** 40 + 3 }
  const about = {
    kind: 'record',
    resource: 'r',
    id: 'a',
    context: { actor: 'é', transaction: null, metadata: '{}' },
  } as const
  const large = (byte: number, raw: Uint8Array | null) => ({ json: Buffer.alloc(2 * 1024 * 1024, byte), raw })
  const events: Event[] = [
    { ...about, stamp, operation: 'insert', before: null, after: large(1, null) },
    {
      ...about,
      stamp,
      operation: 'update',
      before: large(2, Buffer.alloc(0)),
      after: large(3, Buffer.alloc(70_000, 4)),
    },
    { ...about, stamp, operation: 'delete', before: large(5, Buffer.alloc(9, 6)), after: null },
  ]
  for (const event of events) {
    const wanted = sha(salt, encoded(event)).toString('hex')
    const made = vi.spyOn(Buffer, 'alloc')
    expect(Buffer.from(digestEvent(salt, event)).toString('hex')).toBe(wanted)
    expect(made.mock.calls.every(([bytes]) => bytes < 1024)).toBe(true)
    made.mockRestore()
  }
})
