import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { isMessagePack } from '../../src/format/message-pack.ts'
import { makeImage, type Source, Tidemark, type Write } from '../../src/index.ts'
import { type Context, type Image, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { liveState, openRig, type Rig, type RigOptions, stateAt, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'adapter-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const item: Item = { kind: 'record', resource: 'r', id: 'x' }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const json = (text: string): Image => ({ json: bytes(text), raw: null })

/** What an adapter in another language, or without types, may give. */
function untyped<T>(value: unknown): T {
  return value as T
}

let worlds = 0
function world(): RigOptions & { readonly database: ModelDatabase } {
  return {
    store: new MemoryStore(),
    database: new ModelDatabase(),
    directory: join(home, String(++worlds)),
    clock: systemClock,
  }
}

const BAD_IMAGES: readonly (readonly [string, Image])[] = [
  ['JSON on several lines', json('{\n  "a": 1\n}')],
  ['a line feed at the end', json('{"a":1}\n')],
  ['an object without members that is not {}', json('{ }')],
  ['a list', json('[1,2]')],
  ['no JSON at all', json('hello')],
  ['JSON that only begins well', json('{"a":}')],
  ['JSON that is not UTF-8', { json: Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), raw: null }],
  ['JSON as text', untyped({ json: '{"a":1}', raw: null })],
  ['raw that is no MessagePack', { json: bytes('{"a":1}'), raw: Uint8Array.from([0xc1, 0xff, 1, 2]) }],
  ['raw with something behind it', { json: bytes('{"a":1}'), raw: Uint8Array.from([0x01, 0x02]) }],
  ['raw that is undefined', untyped({ json: bytes('{"a":1}') })],
]

/** What cannot be sealed or read later is not journalled; what was written is settled by what the database says. */
async function refuses(write: (database: ModelDatabase, rig: Rig) => Promise<unknown>): Promise<void> {
  const options = world()
  const rig = await openRig(options)
  await expect(write(options.database, rig)).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  options.database.items_.clear()
  await options.database.write({ ...item, id: 'other' }, recordImage({ n: 1 }))
  await rig.session.complete(null)
  expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(options.database))
  expect((await verify(rig.archive)).damage).toEqual([])
  await rig.session.close()
  rig.archive.close()
  expect((await rig.timeline.refresh()).streams.map(({ state }) => state)).toEqual(['closed'])
}

test.each(BAD_IMAGES)('an image that stops a reader does not enter the journal: %s', async (_, image) => {
  await refuses((database) => database.write(item, image))
})

const BAD_ITEMS: readonly (readonly [string, Item, Partial<Context>])[] = [
  ['half of a surrogate pair in the id', { ...item, id: 'x\ud800' }, {}],
  ['an id that is a number', untyped({ ...item, id: 7 }), {}],
  ['an unknown kind', untyped({ ...item, kind: 'table' }), {}],
  ['metadata that is no JSON', item, { metadata: 'hello' }],
  ['an actor that is no text', item, untyped({ actor: 7 })],
]

test.each(BAD_ITEMS)(
  'names and notes that would come back as others do not enter the journal: %s',
  async (_, bad, over) => {
    await refuses((database) => database.write(bad, recordImage({ n: 1 }), over))
  },
)

const write = { read: async () => [null], perform: async () => 1, after: () => [recordImage({ n: 1 })] }
const BAD_CAPTURES: readonly (readonly [string, unknown, unknown, unknown])[] = [
  ['a resource that is null', [{ ...item, resource: null }], NO_CONTEXT, write],
  ['an id that is not there', [{ kind: 'record', resource: 'r' }], NO_CONTEXT, write],
  ['an item that is null', [null], NO_CONTEXT, write],
  ['two items, one of them a text', [item, 'x'], NO_CONTEXT, write],
  ['one item without its list', item, NO_CONTEXT, write],
  ['no context', [item], undefined, write],
  ['half a context', [item], { actor: 'ann' }, write],
  ['no write', [item], NO_CONTEXT, null],
  ['a write that cannot be read', [item], NO_CONTEXT, { ...write, read: undefined }],
  ['a write that tells nothing after it', [item], NO_CONTEXT, { ...write, after: undefined }],
  ['no images before', [item], NO_CONTEXT, { ...write, read: async () => null }],
  ['an image before that is left out', [item], NO_CONTEXT, { ...write, read: async () => [undefined] }],
  ['an image before that is a text', [item], NO_CONTEXT, { ...write, read: async () => ['{}'] }],
]

test.each(BAD_CAPTURES)(
  'a capture that is none is refused by name, done by nobody, and stops nothing: %s',
  async (_, items, context, bad) => {
    let done = 0
    const perform = async (): Promise<void> => void done++
    const given = typeof bad === 'object' && bad !== null ? { ...bad, perform } : bad
    await refuses((_database, rig) =>
      rig.session.recorder.capture(untyped<Item[]>(items), untyped<Context>(context), untyped<Write<void>>(given)),
    )
    expect(done).toBe(0)
  },
)

const BAD_ENDS: readonly (readonly [string, unknown])[] = [
  ['no images', undefined],
  ['an image that is left out', [undefined]],
  ['more images than items', [null, null]],
  ['an image that is a number', [7]],
]

test.each(BAD_ENDS)('what a write left is asked of the database where its source tells %s', async (_, after) => {
  await refuses((database, rig) => {
    const perform = async (): Promise<void> => database.put(item, recordImage({ n: 1 }))
    const bad = { read: async () => [null], perform, after: () => untyped<Image[]>(after) }
    return rig.session.recorder.capture([item], NO_CONTEXT, bad)
  })
})

test('items that a source lists out of order, or that are none, stop a baseline by name', async () => {
  const [a, b] = ['a', 'b'].map((id): Item => ({ ...item, id }))
  for (const listed of [[b, a], [a, a], [a, null], [{ ...item, resource: null }], 'x']) {
    const options = world()
    for (const one of [a, b]) if (one !== undefined) options.database.put(one, recordImage({ n: 1 }))
    const rig = await openRig(options)
    options.database.items = async function* () {
      yield untyped<Item[]>(listed)
    }
    await expect(rig.session.baseline()).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
    await rig.session.close()
    rig.archive.close()
  }
})

test.each([new Uint8Array(16), 'hash', 7])(
  'what a write is meant to leave is a fingerprint, and else nothing is done: %s',
  async (meant) => {
    let done = 0
    const perform = async (): Promise<void> => void done++
    const bad = { read: async () => [null], perform, after: () => [null], meant: () => untyped<Uint8Array>(meant) }
    await refuses((_database, rig) => rig.session.recorder.capture([item], NO_CONTEXT, bad))
    expect(done).toBe(0)
  },
)

test('a state that is none is not taken for one that is gone', async () => {
  for (const state of [undefined, 'text', { json: '{}' }]) {
    const source = new ModelDatabase()
    source.put(item, recordImage({ n: 1 }))
    const tidemark = await Tidemark.capture({ store: `memory:bad-state-${String(state)}`, source, ack: 'memory' })
    await tidemark.baseline()
    const { read } = source
    source.read = async () => untyped<Image>(state)
    const seen: unknown[] = []
    const reconciling = tidemark.reconcile({ onFinding: (finding) => void seen.push(finding) })
    await expect(reconciling).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
    expect(seen).toEqual([])
    source.read = read
    expect(await tidemark.reconcile()).toMatchObject({ same: 1, added: 0, changed: 0, removed: 0 })
    await tidemark.close()
  }
})

test('a source that is none is refused before anything is opened', async () => {
  const database = new ModelDatabase()
  const whole = {
    identity: 'x://y',
    volatile: false,
    attach: () => () => {},
    items: () => database.items(),
    read: async () => null,
  }
  const missing = Object.keys(whole).map((name) => ({ ...whole, [name]: undefined }))
  for (const source of [...missing, { ...whole, identity: '' }, null, 'x://y']) {
    const opening = Tidemark.open({ store: 'memory:bad-source', source: untyped<Source>(source) })
    await expect(opening).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining('source') })
  }
})

test.each(BAD_IMAGES)('a baseline says which record it cannot take: %s', async (_, image) => {
  const options = world()
  options.database.put(item, image)
  const rig = await openRig(options)
  await expect(rig.session.baseline()).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  options.database.put(item, recordImage({ n: 1 }))
  await rig.session.baseline()
  expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(options.database))
  await rig.session.close()
  rig.archive.close()
})

test('what makeImage makes is taken, and is what it was made of', async () => {
  const image = makeImage({ id: 'x', text: 'é\n' }, { body: Uint8Array.from([0, 255]), list: [1, null, 'x'] })
  expect(JSON.parse(Buffer.from(image.json).toString())).toEqual({ id: 'x', text: 'é\n' })
  expect(new Packr({ useRecords: false }).unpack(image.raw ?? bytes(''))).toEqual({
    body: Uint8Array.from([0, 255]),
    list: [1, null, 'x'],
  })
  expect(makeImage({}).raw).toBe(null)
  expect(() => makeImage([1])).toThrow(expect.objectContaining({ code: 'SOURCE_UNSUPPORTED' }))
  const options = world()
  const rig = await openRig(options)
  await options.database.write(item, image, { metadata: '{"why":1}' })
  await rig.session.complete(null)
  expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(options.database))
  await rig.session.close()
  rig.archive.close()
})

test('a MessagePack value is told from anything else', () => {
  const packr = new Packr({ useRecords: false, variableMapSize: true })
  const value = fc.anything({ withBigInt: false, withDate: true, withTypedArray: false, withSparseArray: false })
  fc.assert(
    fc.property(
      fc.oneof(value, fc.uint8Array(), fc.string({ maxLength: 70_000 }), fc.array(fc.nat(), { maxLength: 70_000 })),
      fc.nat(),
      (made, at) => {
        const packed = Uint8Array.from(packr.pack(made))
        expect(isMessagePack(packed)).toBe(true)
        expect(isMessagePack(packed.subarray(0, at % packed.length))).toBe(false)
        expect(isMessagePack(Uint8Array.from([...packed, 0]))).toBe(false)
      },
    ),
    { numRuns: 300 },
  )
  expect(isMessagePack(Uint8Array.from([0xdf, 0xff, 0xff, 0xff, 0xff]))).toBe(false)
  expect(isMessagePack(new Uint8Array(0))).toBe(false)
})

test('what is captured together has one time, in the history and at every moment', async () => {
  const options = world()
  const rig = await openRig(options)
  const ids = Array.from({ length: 20_000 }, (_, i) => `a${i}`)
  const items = ids.map((id): Item => ({ kind: 'record', resource: 'r', id }))
  const image = makeImage({ n: 1 })
  const perform = async (): Promise<void> => {
    for (const one of items) options.database.put(one, image)
  }
  const write = { read: async () => items.map(() => null), perform, after: () => items.map(() => image) }
  await rig.session.recorder.capture(items, NO_CONTEXT, write)
  await options.database.write(item, recordImage({ n: 2 }))
  await rig.session.complete(null)
  const { segments } = await rig.archive.segmentsAfter('0'.repeat(26))
  const [first] = segments
  expect(first?.firstUlid.slice(0, 13)).not.toBe(first?.lastUlid.slice(0, 13)) // the other write is in it too
  const ulid = first?.firstUlid ?? ''
  expect((await stateAt(rig.archive, ulid)).size).toBe(items.length)
  expect((await stateAt(rig.archive, { before: ulid })).size).toBe(0)
  await rig.session.close()
  rig.archive.close()
})
