import fc from 'fast-check'
import { Schema } from 's3db.js/lite'
import { describe, expect, it } from 'vitest'
import type { Item } from '../../src/model/event.ts'
import { imageOf } from '../../src/s3db/decode.ts'
import { storedFromResponse } from '../../src/s3db/image.ts'
import { Layouts } from '../../src/s3db/layouts.ts'
import { encodeStored, type StoredObject } from '../../src/s3db/stored-object.ts'
import { newDatabase } from '../support/s3db.ts'
import { BEHAVIORS } from '../support/workload.ts'

/** Types that are decoded here, and (with `slow`) those left to s3db.js. */
const FAST = {
  text: 'string|optional',
  whole: 'number|integer:true|optional',
  real: 'number|optional',
  flag: 'boolean|optional',
  when: 'datetime|optional',
  day: 'dateonly|optional',
  words: 'array|items:string|optional',
  wholes: 'array|items:number|integer:true|optional',
  reals: 'array|items:number|optional',
  doc: 'json|optional',
  price: 'money|optional',
  ratio: 'decimal:4|optional',
  mail: 'email|optional',
  hidden: 'secret|optional',
  nested: {
    $$type: 'object|optional',
    city: 'string|optional',
    deep: { $$type: 'object|optional', n: 'number|optional' },
  },
}
const SLOW = {
  ...FAST,
  uid: 'uuid|optional',
  ip: 'ip4|optional',
  vector: 'embedding:3|optional',
}

const text = fc.oneof(
  fc.constantFrom(
    'plain',
    '漢字',
    'a|b',
    'x\\y',
    '{not json',
    '[object Object]',
    '{"a":1}',
    '[1]',
    'd:j',
    'https://x',
    '',
  ),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
)
const real = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 })
const whole = fc.integer({ min: 0, max: 1e12 })
const values = fc.record(
  {
    text,
    whole,
    real,
    flag: fc.boolean(),
    when: fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
      .map((date) => date.toISOString()),
    day: fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
      .map((date) => date.toISOString().slice(0, 10)),
    words: fc.array(text, { maxLength: 3 }),
    wholes: fc.array(whole, { maxLength: 3 }),
    reals: fc.array(real, { maxLength: 3 }),
    doc: fc.jsonValue({ maxDepth: 2 }),
    price: fc.integer({ min: 0, max: 1e8 }).map((cents) => cents / 100),
    ratio: fc.double({ noNaN: true, min: 0, max: 1 }),
    mail: fc.constant('a@b.co'),
    hidden: fc.constant('CIPHERTEXT=='),
    nested: fc.record({ city: text, deep: fc.record({ n: real }) }, { requiredKeys: [] }),
    uid: fc.uuid(),
    ip: fc.ipV4(),
    vector: fc.array(real, { minLength: 3, maxLength: 3 }),
  },
  { requiredKeys: [] },
)

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  )
}

describe.each([
  ['types decoded here', FAST],
  ['types left to s3db.js', SLOW],
])('readable images, %s', (_, attributes) => {
  it.each(BEHAVIORS)('say what the unmapper of s3db.js says, behavior %s', async (behavior) => {
    const { db } = await newDatabase('memory')
    const resource = await db.createResource({ name: 'r', attributes: { ...attributes }, behavior })
    const quiet = new Schema({
      name: 'r',
      attributes: JSON.parse(JSON.stringify(attributes)),
      options: { autoEncrypt: false, autoDecrypt: false, allNestedObjectsOptional: true },
    })
    const layouts = new Layouts(db)
    const item: Item = { kind: 'record', resource: 'r', id: 'x' }
    const names = Object.keys(attributes)
    await fc.assert(
      fc.asyncProperty(values, async (given) => {
        const chosen = Object.fromEntries(Object.entries(given).filter(([name]) => names.includes(name)))
        // As the mapper stores it, without the encryption, past the validation.
        const mapped = await quiet.mapper(chosen)
        const { _v, ...stored } = mapped
        const inBody = behavior === 'body-only'
        const metadata = inBody ? { _v: 'v1', _map: JSON.stringify(resource.schema.map) } : { ...stored, _v: 'v1' }
        await db.client.putObject({ key: 'resource=r/data/id=x', metadata, body: inBody ? JSON.stringify(mapped) : '' })
        const object = await storedFromResponse(await db.client.getObject('resource=r/data/id=x'), true)
        const seen = JSON.parse(
          Buffer.from((await imageOf(item, object, encodeStored(object), layouts)).json).toString(),
        )
        const reference = await quiet.unmapper(referenceInput(object, inBody)).catch(() => null)
        if (reference === null || (inBody && Object.keys(chosen).length === 0)) return
        expect(sorted(seen)).toEqual(sorted(JSON.parse(JSON.stringify({ ...reference, id: 'x' }))))
        expect(Object.keys(seen)[0]).toBe('id')
        const order = Object.keys(seen).slice(1)
        expect(order).toEqual([...order].sort((a, b) => names.indexOf(a) - names.indexOf(b)))
      }),
      { numRuns: attributes === FAST ? 150 : 40 },
    )
  })
})

it.each(BEHAVIORS)('attributes of the type any read as in s3db.js after updates, behavior %s', async (behavior) => {
  const { db } = await newDatabase('memory')
  const attributes = { name: 'string', any: 'any|optional', pin: 'secret|optional' }
  const resource = await db.createResource({ name: 'r', behavior, attributes })
  const layouts = new Layouts(db)
  const item: Item = { kind: 'record', resource: 'r', id: 'x' }
  for (const any of [{ a: { b: 1 }, list: ['x'] }, [1, 2], [], 'text', '', 5, true, null]) {
    const object = await resource.insert({ id: 'x', name: 'n' }).then(async () => {
      await resource.update('x', { any, ...(any === 5 ? { pin: 'top secret' } : {}) })
      return storedFromResponse(await db.client.getObject('resource=r/data/id=x'), true)
    })
    const seen = JSON.parse(Buffer.from((await imageOf(item, object, encodeStored(object), layouts)).json).toString())
    const got = await resource.get('x')
    expect({ any: seen.any, name: seen.name }).toEqual({ any: got.any, name: 'n' })
    expect(JSON.stringify(seen)).not.toContain('top secret')
    await resource.delete('x')
  }
})

it('the attributes stand in the order of the schema where their keys do not', async () => {
  const { db } = await newDatabase('memory')
  // The key of the 37th of them is `10`, which comes before `2`.
  const names = Array.from({ length: 80 }, (_, i) => `n${i}`)
  const attributes = Object.fromEntries(names.map((name) => [name, 'string|optional']))
  const resource = await db.createResource({ name: 'r', attributes })
  await resource.insert({ id: 'x', ...Object.fromEntries(names.map((name) => [name, `value of ${name}`])) })
  const object = await storedFromResponse(await db.client.getObject('resource=r/data/id=x'), true)
  const item: Item = { kind: 'record', resource: 'r', id: 'x' }
  const { json } = await imageOf(item, object, encodeStored(object), new Layouts(db))
  const order = Object.keys(JSON.parse(Buffer.from(json).toString()))
  expect(order.filter((name) => name.startsWith('n'))).toEqual(names)
})

/** What `get()` of s3db.js gives to its unmapper. */
function referenceInput({ metadata, body }: StoredObject, inBody: boolean): Record<string, unknown> {
  if (inBody) return JSON.parse(String(body))
  const plain = (value: string): unknown => (value === 'null' ? null : value === 'undefined' ? undefined : value)
  return Object.fromEntries(metadata.filter(([key]) => key !== '_v').map(([key, value]) => [key, plain(value)]))
}
