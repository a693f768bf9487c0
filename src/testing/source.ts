import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { checkListed, checkState } from '../capture/check.ts'
import type { Source } from '../capture/source.ts'
import { Tidemark } from '../engine/tidemark.ts'
import { type Image, type Item, sameImage } from '../model/event.ts'
import { type Checks, type ContractCase, casesOf } from './contract-case.ts'
import { ODD_IDS } from './odd-ids.ts'
import { Replica } from './replica.ts'
import { Witness } from './witness.ts'

/** A record that an application writes: `name` and `n`; null deletes it, also where there is none. */
export interface RecordWrite {
  readonly resource: 'users' | 'orders'
  readonly id: string
  readonly value: { readonly name: string; readonly n: number } | null
}

/** A fresh database without records, as an application has it. */
export interface SourceUnderTest {
  readonly source: Source
  /** Writes as the application does: all of it in one transaction, where the database has them. */
  write(writes: readonly RecordWrite[]): Promise<void>
  /** Does a write that the database refuses, in one transaction with some that it would take; absent: it refuses none. */
  refused?(): Promise<unknown>
  dispose(): Promise<void>
}

/** What not every database can do. */
export interface SourceTraits {
  /** Record ids that it takes. Default: all that are well-formed Unicode, up to 400 bytes. */
  readonly ids?: readonly string[]
  /** Whether what one `write` of the application is given is one moment. Default: true. */
  readonly isTransactional?: boolean
}

interface OpenSource extends SourceUnderTest {
  readonly witness: Witness
  readonly ids: readonly string[]
  readonly isTransactional: boolean
}

/** What every `Source` must do; `make` gives a new database for each case, which is disposed of behind it. */
export function sourceContract(
  make: () => Promise<SourceUnderTest>,
  { ids = ODD_IDS, isTransactional = true }: SourceTraits = {},
): readonly ContractCase[] {
  return casesOf(checks, async (run) => {
    const made = await make()
    const { source } = made
    try {
      await run({
        source,
        write: (writes) => made.write(writes),
        ...(made.refused === undefined ? {} : { refused: () => made.refused?.() ?? Promise.resolve() }),
        dispose: () => made.dispose(),
        witness: new Witness(source),
        ids,
        isTransactional,
      })
    } finally {
      await made.dispose()
    }
  })
}

const [ANN, BOB] = [
  { name: 'Ann', n: 1 },
  { name: 'Bób \u{1f600}', n: -2.5 },
]
const u1: Item = { kind: 'record', resource: 'users', id: 'u1' }
const put = (id: string, value: RecordWrite['value'] = ANN): RecordWrite => ({ resource: 'users', id, value })

const checks: Checks<OpenSource> = {
  'says which database it is, without a secret in it': async ({ source }) => {
    assert.equal(typeof source.identity, 'string')
    assert.ok(source.identity !== '' && source.identity.isWellFormed())
    assert.doesNotMatch(source.identity, /\/\/[^/@]*:[^/@]*@/)
    assert.equal(typeof source.volatile, 'boolean')
  },

  'captures an insert, an update and a delete, each with what was there before and after': async (subject) => {
    const { source, witness, write } = subject
    source.attach(witness)
    const seen: (Image | null)[] = [await source.read(u1)]
    for (const value of [ANN, BOB, null]) {
      await write([put('u1', value)])
      seen.push(await source.read(u1))
    }
    const of = statesOf(witness, u1)
    assert.equal(of.length, 3, 'each write of a record is captured once')
    for (const [i, { before, after }] of of.entries()) {
      assert.ok(sameImage(before, seen[i] ?? null) && sameImage(after, seen[i + 1] ?? null), `write ${i + 1}`)
    }
    assert.deepEqual([seen[0], seen[3]], [null, null])
    assert.equal(jsonOf(seen[1]).name, ANN.name)
    assert.equal(jsonOf(seen[2]).n, BOB.n)
  },

  'captures what is written together as one': async ({ source, witness, write, isTransactional }) => {
    if (!isTransactional) return
    source.attach(witness)
    await write([put('u1'), put('u2'), { resource: 'orders', id: 'o1', value: BOB }])
    const records = witness.captures.map(({ items }) => items.filter(({ kind }) => kind === 'record'))
    assert.deepEqual(
      records.filter((items) => items.length > 0).map((items) => items.map(({ id }) => id).sort()),
      [['o1', 'u1', 'u2']],
    )
  },

  'captures while it is attached, and only then': async ({ source, witness, write }) => {
    await write([put('u1')])
    const detach = source.attach(witness)
    await write([put('u2')])
    detach()
    await write([put('u3')])
    const again = new Witness(source)
    source.attach(again)
    await write([put('u4')])
    assert.deepEqual([recordsOf(witness), recordsOf(again)], [['u2'], ['u4']])
    for (const id of ['u1', 'u2', 'u3', 'u4']) assert.ok((await source.read({ ...u1, id })) !== null, id)
  },

  'writes nothing that the sink refuses, and tells its error': async ({ source, witness, write }) => {
    await write([put('u1')])
    const before = await source.read(u1)
    source.attach(witness)
    witness.refusal = new Error('refused by the sink')
    for (const value of [BOB, null]) await assert.rejects(write([put('u1', value)]), /refused by the sink/)
    await assert.rejects(write([put('u2')]), /refused by the sink/)
    assert.ok(sameImage(await source.read(u1), before))
    assert.equal(await source.read({ ...u1, id: 'u2' }), null)
  },

  'says of a write that nothing of it was done only where that is so': async ({ source, witness, write, refused }) => {
    if (refused === undefined) return
    await write([put('u1')])
    source.attach(witness)
    const before = await contentOf(source)
    await assert.rejects(async () => refused(), 'refused() of the test was to be refused by the database')
    const after = await contentOf(source)
    const [last] = witness.captures.slice(-1)
    assert.equal(last?.after, null, 'the write that failed was to be captured')
    if (last?.isRefused === true) assert.deepEqual(after, before)
  },

  'keeps the order of writes of one record': async ({ source, witness, write }) => {
    await write([put('u1')])
    source.attach(witness)
    await Promise.all(Array.from({ length: 20 }, (_, n) => write([put('u1', { name: 'Ann', n: n + 10 })])))
    const states = statesOf(witness, u1)
    assert.equal(states.length, 20)
    for (let i = 1; i < states.length; i++) {
      assert.ok(sameImage(states[i]?.before ?? null, states[i - 1]?.after ?? null), `write ${i + 1}`)
    }
    assert.ok(sameImage(states.at(-1)?.after ?? null, await source.read(u1)))
  },

  'keeps every record id, and apart from the others': async ({ source, witness, write, ids }) => {
    source.attach(witness)
    for (const [n, id] of ids.entries()) await write([put(id, { name: id, n })])
    for (const [n, id] of ids.entries()) {
      const image = await source.read({ ...u1, id })
      assert.ok(image !== null, JSON.stringify(id))
      assert.equal(jsonOf(image).n, n, JSON.stringify(id))
    }
    assert.deepEqual((await listed(source, ['users'])).map(({ id }) => id).sort(), [...ids].sort())
  },

  'lists every item once, in the order of compareItems, and reads each as it can be sealed': async (subject) => {
    const { source, write, ids } = subject
    for (const resource of ['orders', 'users'] as const) {
      for (const id of [...ids].reverse()) await write([{ resource, id, value: BOB }])
    }
    // More than one batch, where an adapter has them.
    const more = Array.from({ length: 600 }, (_, n) => put(`more-${n}`, { name: 'more', n }))
    for (let i = 0; i < more.length; i += 100) await write(more.slice(i, i + 100))
    const items = await listed(source)
    for (const item of items) {
      const image = await source.read(item)
      assert.ok(image !== null, `${item.resource}/${item.id} is listed, and is not there`)
      checkState(item, image)
    }
    assert.equal(items.length, 2 * ids.length + more.length)
  },

  'lists only the resources that are asked for': async ({ source, write }) => {
    await write([put('u1')])
    await write([{ resource: 'orders', id: 'o1', value: BOB }])
    const of = async (...resources: string[]): Promise<string[]> =>
      (await listed(source, resources)).map(({ resource, id }) => `${resource}/${id}`)
    assert.deepEqual(await of('users'), ['users/u1'])
    assert.deepEqual(await of('orders', 'users'), ['orders/o1', 'users/u1'])
    assert.deepEqual([await of('nothing'), await of()], [[], []])
    for (const item of [
      { ...u1, id: 'u2' },
      { ...u1, resource: 'nothing' },
    ]) {
      assert.equal(await source.read(item), null)
    }
  },

  'is the same again when what was captured is restored': async ({ source, write }) => {
    await write([put('u1'), put('u2')])
    const store = `memory:contract-${randomUUID()}`
    const tidemark = await Tidemark.capture({ store, source, ack: 'memory' })
    try {
      await write([put('u1', BOB), put('u3'), { resource: 'orders', id: 'o1', value: ANN }])
      await write([put('u2', null)])
      await tidemark.flush()
      const replica = new Replica()
      await tidemark.restoreAt('latest', { target: replica })
      assert.deepEqual(replica.content(), await contentOf(source))
    } finally {
      await tidemark.close()
    }
  },
}

/** Records that are listed, where the whole listing is in order. */
async function listed(source: Source, resources?: readonly string[]): Promise<Item[]> {
  const found: Item[] = []
  for await (const items of source.items(resources)) {
    checkListed(items, found.at(-1) ?? null)
    found.push(...items)
  }
  return found.filter(({ kind }) => kind === 'record')
}

/** Everything that the database holds, as `Replica` tells it. */
async function contentOf(source: Source): Promise<readonly string[]> {
  const replica = new Replica()
  for await (const items of source.items()) {
    for (const item of items) replica.put(item, await source.read(item))
  }
  return replica.content()
}

function statesOf(
  { captures }: Witness,
  { kind, resource, id }: Item,
): { before: Image | null; after: Image | null }[] {
  return captures.flatMap(({ items, before, after }) => {
    const at = items.findIndex((item) => item.kind === kind && item.resource === resource && item.id === id)
    return at < 0 ? [] : [{ before: before[at] ?? null, after: after?.[at] ?? null }]
  })
}

function recordsOf({ captures }: Witness): string[] {
  return captures.flatMap(({ items }) => items.filter(({ kind }) => kind === 'record').map(({ id }) => id))
}

function jsonOf(image: Image | null | undefined): { readonly name?: unknown; readonly n?: unknown } {
  assert.ok(image != null)
  return JSON.parse(Buffer.from(image.json).toString('utf8'))
}
