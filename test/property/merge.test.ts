import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EMPTY } from '../../src/base/bytes.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { type Event, type Image, type Item, KINDS, type Kind, NO_CONTEXT } from '../../src/model/event.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { type MergedItem, mergeRuns, mergeStamped } from '../../src/restore/merge.ts'
import { Passes } from '../../src/restore/passes.ts'
import { emptyRow, type Row, type Run, type StampRange, setId } from '../../src/restore/run.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { SegmentRun } from '../../src/restore/segment-run.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { image, show, trickyId } from '../support/arbitrary.ts'
import { recordImage } from '../support/model-database.ts'
import { events, frames, open } from '../support/segments.ts'

interface Entry {
  kind: Kind
  resource: string
  id: string
  ulid: string
  image: Image | null
}

/** A run over rows that a test made, in pages of a given size. */
class ArrayRun implements Run {
  readonly row: Row = emptyRow()
  readonly bytes = 100
  readonly stamps: StampRange
  readonly #entries: Entry[]
  readonly #page: number
  #at = -1

  constructor(entries: Entry[], page: number) {
    this.#entries = entries
    this.#page = page
    const ulids = entries.map(({ ulid }) => ulid).sort()
    this.stamps = { first: ulids[0] ?? '', last: ulids.at(-1) ?? '' }
  }

  advance(): boolean {
    if ((this.#at + 1) % this.#page === 0) return false
    return this.#move()
  }

  async load(): Promise<boolean> {
    return this.#move()
  }

  #move(): boolean {
    const entry = this.#entries[++this.#at]
    if (entry === undefined) return false
    this.row.kindIndex = KINDS.indexOf(entry.kind)
    this.row.resource = entry.resource
    const id = Buffer.from(`##${entry.id}##`)
    setId(this.row, id, 2, id.length - 2)
    // What nobody asks for is not there.
    this.row.ulidData = this.row.isStamped ? Buffer.from(entry.ulid) : EMPTY
    return true
  }

  isLast(): boolean {
    const [entry, next] = [this.#entries[this.#at], this.#entries[this.#at + 1]]
    return entry === undefined || next === undefined || keyOf(entry).compare(keyOf(next)) !== 0
  }

  image(): Image | null {
    return this.#entries[this.#at]?.image ?? null
  }

  async close(): Promise<void> {}
}

/** Ids that differ first in one of the places where a comparison goes another way, or are as far as others and end. */
const ALIKE = [6, 7, 12, 13].flatMap((bytes) => [
  'x'.repeat(bytes - 1),
  `${'x'.repeat(bytes - 1)}\0`,
  `${'x'.repeat(bytes - 1)}1`,
  `${'x'.repeat(bytes - 1)}2`,
  `${'x'.repeat(bytes - 1)}2 and more`,
])

const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom<Kind>('schema', 'object', 'record'),
  resource: fc.constantFrom('a', 'b', '\ufb01', '\u{1f600}'),
  id: fc.oneof(trickyId, fc.constantFrom(...ALIKE)),
  ulid: fc.integer({ min: 0, max: 10 ** 6 }).map((n) => String(n).padStart(26, '0')),
  image: fc.option(image),
})

function keyOf({ kind, resource, id }: Entry): Buffer {
  return Buffer.concat([Buffer.from([KINDS.indexOf(kind)]), Buffer.from(resource), Buffer.from([0]), Buffer.from(id)])
}

test('a merge of runs is the last version of every item, once, in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(entry, { maxLength: 25 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 5 }),
      async (given, page) => {
        const runs = given.map((entries) =>
          entries.toSorted((a, b) => Buffer.compare(keyOf(a), keyOf(b)) || (a.ulid < b.ulid ? -1 : 1)),
        )
        const last = new Map<string, Entry>()
        for (const one of runs.flat()) {
          const known = last.get(keyOf(one).toString('hex'))
          if (known === undefined || known.ulid < one.ulid) last.set(keyOf(one).toString('hex'), one)
        }
        // Two rows with one stamp cannot be told apart; a stamp is given once only.
        fc.pre(new Set(runs.flat().map(({ ulid }) => ulid)).size === runs.flat().length)
        const expected = [...last.values()]
          .sort((a, b) => Buffer.compare(keyOf(a), keyOf(b)))
          .map(({ kind, resource, id, ulid, image }) => [kind, resource, id, ulid, show(image)])
        const merged: unknown[] = []
        for await (const batch of mergeStamped(runs.map((entries) => new ArrayRun(entries, page)))) {
          for (const { kind, resource, id, ulid, image } of batch) merged.push([kind, resource, id, ulid, show(image)])
        }
        expect(merged).toEqual(expected)
        const plain: unknown[] = []
        for await (const batch of mergeRuns(runs.map((entries) => new ArrayRun(entries, page)))) {
          for (const { kind, resource, id, image } of batch) plain.push([kind, resource, id, show(image)])
        }
        expect(plain).toEqual(expected.map(([kind, resource, id, , image]) => [kind, resource, id, image]))
      },
    ),
    { numRuns: 500 },
  )
})

test('runs whose stamps follow one another are merged without a look at the stamps', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(entry, { maxLength: 25 }), { minLength: 2, maxLength: 6 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 3 }),
      async (given, page, together) => {
        // `together` runs share the range of their stamps; the others are behind them, in any order of the list.
        const stamped = given.map((entries, run) =>
          entries.map((one) => ({ ...one, ulid: `${Math.floor(run / together)}${one.ulid.slice(1)}` })),
        )
        fc.pre(new Set(stamped.flat().map(({ ulid }) => ulid)).size === stamped.flat().length)
        const last = new Map<string, Entry>()
        for (const one of stamped.flat().toSorted((a, b) => (a.ulid < b.ulid ? -1 : 1))) {
          last.set(keyOf(one).toString('hex'), one)
        }
        const runs = stamped
          .map((entries) =>
            entries.toSorted((a, b) => Buffer.compare(keyOf(a), keyOf(b)) || (a.ulid < b.ulid ? -1 : 1)),
          )
          .reverse()
          .map((entries) => new ArrayRun(entries, page))
        const merged: unknown[] = []
        for await (const batch of mergeRuns(runs)) {
          for (const { kind, resource, id, image } of batch) merged.push([kind, resource, id, show(image)])
        }
        const expected = [...last.values()].sort((a, b) => Buffer.compare(keyOf(a), keyOf(b)))
        expect(merged).toEqual(expected.map(({ kind, resource, id, image }) => [kind, resource, id, show(image)]))
        if (together === 1) expect(runs.some(({ row }) => row.isStamped)).toBe(false)
      },
    ),
    { numRuns: 300 },
  )
})

test('runs that are merged in passes, however small the memory, give what they give at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(entry, { maxLength: 12 }), { maxLength: 14 }),
      fc.integer({ min: 0, max: 1500 }),
      async (given, memory) => {
        const runs = given.map((entries) =>
          entries.toSorted((a, b) => Buffer.compare(keyOf(a), keyOf(b)) || (a.ulid < b.ulid ? -1 : 1)),
        )
        fc.pre(new Set(runs.flat().map(({ ulid }) => ulid)).size === runs.flat().length)
        const scratch = new MemoryStore()
        const passes = new Passes(() => scratch, memory)
        for (const entries of runs) await passes.add(new ArrayRun(entries, 3))
        const [inPasses, atOnce] = [passes.rest, runs.map((entries) => new ArrayRun(entries, 3))]
        expect(await contentOf(inPasses)).toEqual(await contentOf(atOnce))
        for await (const { key } of scratch.list('')) throw new Error(`${key} was left behind`)
      },
    ),
    { numRuns: 300 },
  )
})

async function contentOf(runs: readonly Run[]): Promise<unknown[]> {
  const merged: unknown[] = []
  for await (const batch of mergeStamped(runs)) {
    for (const { kind, resource, id, ulid, image } of batch) merged.push([kind, resource, id, ulid, show(image)])
  }
  return merged
}

test('an item whose events stand in several row groups of several segments is merged to its last event', async () => {
  const ranged = fc.tuple(events('s', 40), fc.nat(4), fc.integer({ min: 1, max: 4 }), fc.nat(40), fc.nat(40))
  await fc.assert(
    fc.asyncProperty(ranged, fc.array(fc.nat(2), { minLength: 40, maxLength: 40 }), async (given, places) => {
      const [list, from, rowGroupRows, start, length] = given
      const sorted = list.toSorted((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
      const after = sorted[start % sorted.length]?.stamp.ulid ?? ''
      const through = sorted[Math.min(sorted.length - 1, (start % sorted.length) + length)]?.stamp.ulid ?? ''
      const runs: Run[] = []
      for (let place = from % 3; place < 3; place++) {
        const chosen = list.filter((_, i) => (places[i] ?? 0) === place)
        if (chosen.length === 0) continue
        const own = chosen.map((one, i) => ({ ...one, stamp: { ...one.stamp, sequence: i + 1 } }))
        const encoded = encodeSegment(frames(own, 1), { stream: 's', level: 0, rowGroupRows })
        runs.push(new SegmentRun([partOf((await open(encoded)).reader, {})], { after, through, selection: {} }))
      }
      const last = new Map<string, string>()
      for (const [i, one] of list.entries()) {
        const isIn = one.stamp.ulid > after && one.stamp.ulid <= through && (places[i] ?? 0) >= from % 3
        if (isIn) last.set(itemOf(one), one.stamp.ulid)
      }
      const found: string[][] = []
      for await (const batch of mergeStamped(runs)) for (const one of batch) found.push([itemOf(one), one.ulid])
      expect(found.toSorted()).toEqual([...last].toSorted())
    }),
    { numRuns: 80 },
  )
})

function itemOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

test('what a merge has handed on stays what it is while it reads on', async () => {
  const ulids = new UlidGenerator(() => 1_790_000_000_000)
  const list = Array.from({ length: 40 }, (_, i): Event => {
    const after = recordImage({ id: String(i), text: String(i % 7).repeat(1000) })
    const stamp = { ulid: ulids.next(), stream: 's', sequence: i + 1 }
    const item = { kind: 'record', resource: 'r', id: String(i).padStart(2, '0') } as const
    return { ...item, context: NO_CONTEXT, operation: 'insert', before: null, after, stamp }
  })
  const encoded = encodeSegment(frames(list, 1), { stream: 's', level: 0, rowGroupRows: 4 })
  const range = { after: MIN_ULID, through: encoded.info.lastUlid, selection: {} }
  const found: MergedItem[] = []
  for await (const batch of mergeRuns([new SegmentRun([partOf((await open(encoded)).reader, {})], range)])) {
    found.push(...batch)
  }
  expect(found.map(({ id, image }) => [id, show(image)])).toEqual(list.map(({ id, after }) => [id, show(after)]))
})

test('an image that is no UTF-8 is refused where it would be handed on', async () => {
  const after = { json: Buffer.from([0x22, ...Buffer.from('x'.repeat(300)), 0xff, 0x22]), raw: null }
  const stamp = { ulid: new UlidGenerator(() => 1_790_000_000_000).next(), stream: 's', sequence: 1 }
  const item = { kind: 'record', resource: 'r', id: '1' } as const
  const event: Event = { ...item, context: NO_CONTEXT, operation: 'insert', before: null, after, stamp }
  const encoded = encodeSegment(frames([event], 1), { stream: 's', level: 0 })
  const range = { after: MIN_ULID, through: encoded.info.lastUlid, selection: {} }
  const merged = mergeRuns([new SegmentRun([partOf((await open(encoded)).reader, {})], range)])
  await expect(merged.next()).rejects.toMatchObject({ code: 'SEGMENT_CORRUPT' })
})

test('runs are loaded together before they are merged: over a network each waits for what it reads', async () => {
  let [under, most, begun] = [0, 0, 0]
  class SlowRun extends ArrayRun {
    override async load(): Promise<boolean> {
      most = Math.max(most, ++under)
      await new Promise((resolve) => setImmediate(resolve))
      // When the first one is there.
      begun ||= most
      under--
      return super.load()
    }
  }
  const runs = Array.from({ length: 40 }, (_, i) => {
    const id = String(i).padStart(2, '0')
    return new SlowRun([{ kind: 'record', resource: 'r', id, ulid: id.padStart(26, '0'), image: null }], 1)
  })
  const found: string[] = []
  for await (const batch of mergeRuns(runs)) found.push(...batch.map(({ id }) => id))
  expect(found).toEqual(Array.from({ length: 40 }, (_, i) => String(i).padStart(2, '0')))
  expect([begun, most]).toEqual([16, 16])
})
