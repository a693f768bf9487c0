import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { isMessagePack } from '../../src/format/message-pack.ts'
import { makeImage } from '../../src/index.ts'
import { type Context, type Image, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { liveState, openRig, type RigOptions, stateAt, verify } from '../support/capture-rig.ts'
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
async function refuses(write: (database: ModelDatabase) => Promise<unknown>): Promise<void> {
  const options = world()
  const rig = await openRig(options)
  await expect(write(options.database)).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
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
