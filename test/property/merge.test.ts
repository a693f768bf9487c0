import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Image, KINDS, type Kind } from '../../src/model/event.ts'
import { mergeRuns } from '../../src/restore/merge.ts'
import { Passes } from '../../src/restore/passes.ts'
import { emptyRow, prefixOf, type Row, type Run } from '../../src/restore/run.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { image, show, trickyId } from '../support/arbitrary.ts'

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
  readonly #entries: Entry[]
  readonly #page: number
  #at = -1

  constructor(entries: Entry[], page: number) {
    this.#entries = entries
    this.#page = page
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
    this.row.idData = Buffer.from(`##${entry.id}##`)
    this.row.idStart = 2
    this.row.idEnd = this.row.idData.length - 2
    this.row.prefix = prefixOf(this.row.idData, this.row.idStart, this.row.idEnd)
    this.row.ulidData = Buffer.from(entry.ulid)
    return true
  }

  image(): Image | null {
    return this.#entries[this.#at]?.image ?? null
  }

  async close(): Promise<void> {}
}

const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom<Kind>('schema', 'object', 'record'),
  resource: fc.constantFrom('a', 'b', '\ufb01', '\u{1f600}'),
  id: fc.oneof(trickyId, fc.constantFrom('longer-than-six-1', 'longer-than-six-2', 'a\0', 'a\0\0')),
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
        for await (const batch of mergeRuns(runs.map((entries) => new ArrayRun(entries, page)))) {
          for (const { kind, resource, id, ulid, image } of batch) merged.push([kind, resource, id, ulid, show(image)])
        }
        expect(merged).toEqual(expected)
      },
    ),
    { numRuns: 500 },
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
  for await (const batch of mergeRuns(runs)) {
    for (const { kind, resource, id, ulid, image } of batch) merged.push([kind, resource, id, ulid, show(image)])
  }
  return merged
}
