import { expect, test } from 'vitest'
import { type Image, type Item, makeImage, type Sink, type Write } from '../../src/index.ts'
import { type ContractCase, type RecordWrite, sourceContract, targetContract } from '../../src/testing.ts'
import { failing } from '../support/contract.ts'
import { type Faults, MemoryDocuments } from '../support/memory-documents.ts'

function casesOfSource(make: () => MemoryDocuments): readonly ContractCase[] {
  return sourceContract(async () => {
    const source = make()
    const write = (writes: readonly RecordWrite[]): Promise<void> => source.write(writes)
    const some = ['u1', 'refused'].map((id): RecordWrite => ({ resource: 'users', id, value: { name: 'x', n: 7 } }))
    return { source, write, refused: () => write(some), dispose: async () => {} }
  })
}

function casesOfTarget(
  faults: Faults,
  make = (): MemoryDocuments => new MemoryDocuments(faults),
): readonly ContractCase[] {
  return targetContract(
    async () => {
      const database = make()
      return { open: async () => database.target(), dispose: async () => {} }
    },
    { seesConflicts: true },
  )
}

const swapped = <T>(list: readonly T[]): readonly T[] => [...list].reverse()
const trimmed = (item: Item): Item => ({ ...item, id: item.id.trim() })

class Named extends MemoryDocuments {
  override readonly identity: string = 'documents://ann:secret@host/app'
}

/** Does its write first and tells it then. */
class Late extends MemoryDocuments {
  override async commit(items: readonly Item[], images: readonly (Image | null)[]): Promise<void> {
    const { sink } = this
    if (sink === null) return super.commit(items, images)
    const before = await Promise.all(items.map((item) => this.read(item)))
    this.put(items, images)
    const write: Write<void> = { read: async () => before, perform: async () => {}, after: () => images }
    await sink.capture(items, { actor: null, transaction: null, metadata: null }, write)
  }
}

/** Captures one item after the other. */
class Torn extends MemoryDocuments {
  override async commit(items: readonly Item[], images: readonly (Image | null)[]): Promise<void> {
    for (const [i, item] of items.entries()) await super.commit([item], [images[i] ?? null])
  }
}

/** Does not tell of deletes. */
class Silent extends MemoryDocuments {
  override async commit(items: readonly Item[], images: readonly (Image | null)[]): Promise<void> {
    if (images.every((image) => image === null)) this.put(items, images)
    else await super.commit(items, images)
  }
}

/** Goes on telling after it was let go. */
class Clinging extends MemoryDocuments {
  override attach(sink: Sink): () => void {
    super.attach(sink)
    return () => {}
  }
}

/** Says of half a write that nothing of it was done. */
class Half extends MemoryDocuments {
  override async commit(items: readonly Item[], images: readonly (Image | null)[]): Promise<void> {
    const bad = items.findIndex(({ id }) => id === 'refused')
    if (bad > 0 && this.sink !== null) {
      const read = async (): Promise<(Image | null)[]> => Promise.all(items.map((item) => this.read(item)))
      const perform = async (): Promise<void> => {
        this.put(items.slice(0, bad), images.slice(0, bad))
        throw new Error('refused')
      }
      const context = { actor: null, transaction: null, metadata: null }
      return this.sink.capture(items, context, { read, perform, after: () => images, refused: () => true })
    }
    await super.commit(items, images)
  }
}

const many = (text: string): Image => ({ json: new Uint8Array(Buffer.from(text)), raw: null })

const BAD_SOURCES: readonly (readonly [string, () => MemoryDocuments, string])[] = [
  ['a password in its identity', () => new Named(), 'without a secret'],
  ['a write that is told when it is done', () => new Late(), 'sink refuses'],
  ['a transaction that is told item by item', () => new Torn(), 'together as one'],
  ['deletes that are not told', () => new Silent(), 'an insert, an update and a delete'],
  ['telling on after it was detached', () => new Clinging(), 'while it is attached'],
  ['a failed write that was half done and is called refused', () => new Half(), 'nothing of it was done'],
  [
    'a state before that is made up',
    () => new MemoryDocuments({ write: (write) => ({ ...write, read: async () => [null] }) }),
    'an insert, an update and a delete',
  ],
  [
    'a state after that is not what is stored',
    () =>
      new MemoryDocuments({
        write: (write) => ({ ...write, after: () => [makeImage({ name: 'Ann', n: 1, at: 'now' })] }),
      }),
    'an insert, an update and a delete',
  ],
  ['items out of order', () => new MemoryDocuments({ items: swapped }), 'in the order of compareItems'],
  ['an item twice', () => new MemoryDocuments({ items: (items) => [...items, ...items.slice(-1)] }), 'compareItems'],
  ['an item that is left out', () => new MemoryDocuments({ items: (items) => items.slice(1) }), 'every item once'],
  ['ids that are trimmed', () => new MemoryDocuments({ items: (items) => items.map(trimmed) }), 'every record id'],
  [
    'JSON on several lines',
    () =>
      new MemoryDocuments({
        image: (_, { json }) => many(JSON.stringify(JSON.parse(String(Buffer.from(json))), null, 1)),
      }),
    'as it can be sealed',
  ],
  [
    'resources that were not asked for',
    () => {
      const database = new MemoryDocuments()
      const { items } = database
      database.items = () => items.call(database)
      return database
    },
    'only the resources',
  ],
]

test.each(BAD_SOURCES)('the suite for sources finds %s', async (_, make, name) => {
  expect((await failing(casesOfSource(make))).join('; ')).toContain(name)
})

const BAD_TARGETS: readonly (readonly [string, Faults, string])[] = [
  ['a scan out of order', { scan: swapped }, 'byte for byte'],
  ['a scan that leaves something out', { scan: (states) => states.slice(1) }, 'byte for byte'],
  ['deletes that are not done', { restore: (all) => all.filter(({ after }) => after !== null) }, 'becomes another'],
  ['updates that are not done', { restore: (all) => all.filter(({ before }) => before === null) }, 'becomes another'],
  [
    'writing what came first',
    { restore: (all) => all.map((one) => ({ ...one, after: one.before ?? one.after })) },
    'becomes another',
  ],
  ['ids that are trimmed', { restore: (all) => all.map((one) => ({ ...one, id: one.id.trim() })) }, 'byte for byte'],
  [
    'content that is made anew',
    {
      restore: (all) => all.map((one) => ({ ...one, after: one.after === null ? null : makeImage({ id: one.id }) })),
    },
    'byte for byte',
  ],
]

test.each(BAD_TARGETS)('the suite for targets finds %s', async (_, faults, name) => {
  expect((await failing(casesOfTarget(faults))).join('; ')).toContain(name)
})

/** Gives everything, whatever is asked for. */
class Whole extends MemoryDocuments {
  override target(): ReturnType<MemoryDocuments['target']> {
    const { scan, ...rest } = super.target()
    return { ...rest, scan: () => scan({}) }
  }
}

/** Writes whatever there is. */
class Blind extends MemoryDocuments {
  override target(): ReturnType<MemoryDocuments['target']> {
    const { write, ...rest } = super.target()
    return { ...rest, write: (differences) => write(differences) }
  }
}

test('the suite for targets finds what is not selected, and what is overwritten unseen', async () => {
  expect((await failing(casesOfTarget({}, () => new Whole()))).join('; ')).toContain('only what is selected')
  expect((await failing(casesOfTarget({}, () => new Blind()))).join('; ')).toContain('somebody else has written')
})

test('the traits of a database leave out what it cannot do, and nothing else', async () => {
  const torn = sourceContract(
    async () => {
      const source = new Torn()
      return { source, write: (writes) => source.write(writes), dispose: async () => {} }
    },
    { isTransactional: false },
  )
  expect(await failing(torn)).toEqual([])
  const few = sourceContract(
    async () => {
      const source = new MemoryDocuments()
      const write = async (writes: readonly RecordWrite[]): Promise<void> => {
        if (writes.some(({ id }) => !/^[\w-]+$/.test(id))) throw new Error('no such id')
        await source.write(writes)
      }
      return { source, write, dispose: async () => {} }
    },
    { ids: ['a', 'b'] },
  )
  expect(await failing(few)).toEqual([])
  const blind = targetContract(async () => {
    const database = new Blind()
    return { open: async () => database.target(), dispose: async () => {} }
  })
  expect(await failing(blind)).toEqual([])
  const names: string[] = []
  const listed = targetContract(
    async () => {
      const database = new MemoryDocuments({
        restore: (all) => {
          names.push(...all.filter(({ after }) => after !== null).map(({ id }) => id))
          return all
        },
      })
      return { open: async () => database.target(), dispose: async () => {} }
    },
    { ids: ['a', 'b', 'c'] },
  )
  expect(await failing(listed)).toEqual([])
  expect(new Set(names)).toEqual(new Set(['a', 'b', 'c']))
})

test('whatever becomes of a case, its place is disposed of', async () => {
  let open = 0
  const cases = sourceContract(async () => {
    open++
    const source = new MemoryDocuments({ items: () => [] })
    const dispose = async (): Promise<void> => void open--
    return { source, write: (writes) => source.write(writes), dispose }
  })
  expect((await failing(cases)).length).toBeGreaterThan(0)
  expect(open).toBe(0)
})
