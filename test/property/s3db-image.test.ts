import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { MemoryClient } from 's3db.js/lite'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '../../src/base/bytes.ts'
import type { StorageClient } from '../../src/s3db/client.ts'
import {
  decodeStored,
  putParams,
  storedFromCopy,
  storedFromPut,
  storedFromResponse,
  storedOf,
} from '../../src/s3db/image.ts'
import { encodeStored, type StoredObject } from '../../src/s3db/stored-object.ts'
import { headerStore } from '../support/header-store.ts'

const LOCAL = { local: true, copiesExactly: true }

const value = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    undefined,
    '',
    'null',
    'undefined',
    'true',
    0,
    -1.5,
    false,
    'd:',
    'd:j',
    'u:%zz',
    'b:QQ==',
    'z:x',
  ),
  fc.constantFrom<unknown>(
    'z85:',
    '{"a":1}',
    '[1,2]',
    'application/json',
    'https://www.x',
    ' padded ',
    'a\nb',
    'ação',
    '漢字',
    '\u{1f600}',
  ),
  fc.constantFrom<unknown>('constructor', 'toString', '__proto__', 'valueOf'),
  // Two of s3db.js's abbreviations are the same letter; some prefixes are shortened in front of anything.
  fc.constantFrom<unknown>('font/woff2', 'failed', 'https://www.Ã¤', 'http://x ', '/v1/\u20ac', '/api/', 'd:@W'),
  fc.constantFrom<unknown>(
    'Ã¤',
    'Ã',
    'é',
    '\ufeff',
    '\ufeffx',
    'u:',
    'b:',
    'z:',
    'eJwDAAAAAAE=',
    '=?UTF-8?B?w6Q=?=',
    '\t',
    '\ud800',
  ),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.double(),
)
const metadata = fc.dictionary(
  fc.oneof(fc.constantFrom('0', '1', 'a', '_v', '$overflow', 'A', 'x.y'), fc.string({ maxLength: 4 })),
  value,
  {
    maxKeys: 5,
    noNullPrototype: true,
  },
)
const body = fc.oneof(
  fc.constantFrom('', '{"a":1}', 'text', '\ufeffbom', `\ufeff${'long '.repeat(20)}`),
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
)
const contentType = fc.constantFrom(undefined, '', 'application/json', 'image/png')

function client(): MemoryClient {
  return new MemoryClient({ bucket: 'property-images', logLevel: 'silent' })
}

function plainBody(stored: StoredObject): object {
  const { body } = stored
  return { ...stored, body: typeof body === 'string' ? body : [...body] }
}

async function read(from: Pick<StorageClient, 'getObject'>, key: string, local = true) {
  return storedFromResponse(await from.getObject(key), local)
}

describe('images of stored objects', () => {
  it('say before reading what reading says, and put back the same bytes', async () => {
    const memory = client()
    await fc.assert(
      fc.asyncProperty(metadata, body, contentType, async (given, bytes, type) => {
        await memory.clear()
        const params = { key: 'a', metadata: given, body: bytes, ...(type === undefined ? {} : { contentType: type }) }
        await memory.putObject(params)
        const stored = await read(memory, 'a')
        const derived = storedFromPut(params, LOCAL)
        if (derived !== null) expect(encodeStored(derived)).toEqual(encodeStored(stored))
        expect(plainBody(decodeStored(encodeStored(stored)))).toEqual(plainBody(stored))
        await memory.putObject(putParams('b', decodeStored(encodeStored(stored))))
        expect(encodeStored(await read(memory, 'b'))).toEqual(encodeStored(stored))
        const { a, b } = memory.snapshot().objects
        if (derived === null) return // a value that s3db.js damages; it reads the same, which is all that can be had
        expect(b?.metadata).toEqual(a?.metadata)
        expect([b?.body, b?.contentType]).toEqual([a?.body, a?.contentType])
      }),
      { numRuns: 400 },
    )
  })

  it('say before reading what reading says of values that go through headers', async () => {
    const { client: remote, close } = await headerStore()
    const types = fc.constantFrom(undefined, 'application/json', ' text/plain ', 'text/ä')
    await fc.assert(
      fc.asyncProperty(metadata, body, types, async (given, bytes, type) => {
        const params = { key: 'a', metadata: given, body: bytes, ...(type === undefined ? {} : { contentType: type }) }
        const refused = await remote.putObject(params).then(
          () => false,
          () => true, // no header can hold it
        )
        const derived = storedFromPut(params, { local: false, copiesExactly: false })
        if (derived !== null && !refused) expect(plainBody(derived)).toEqual(plainBody(await read(remote, 'a', false)))
      }),
      { numRuns: 300 },
    )
    for (const text of ['Ã¤', 'font/woff2', 'ascii', '漢字', 'https://www.a'])
      expect(storedFromPut({ key: 'a', metadata: { 0: text } }, { local: false, copiesExactly: false })).not.toBeNull()
    close()
  })

  it('derive copies from their origin', async () => {
    const memory = client()
    const directive = fc.constantFrom<'COPY' | 'REPLACE' | undefined>('COPY', 'REPLACE', undefined)
    await fc.assert(
      fc.asyncProperty(
        metadata,
        fc.option(metadata, { nil: undefined }),
        body,
        directive,
        contentType,
        async (first, second, bytes, metadataDirective, type) => {
          await memory.clear()
          await memory.putObject({ key: 'a', metadata: first, body: bytes, contentType: 'text/plain' })
          const origin = await read(memory, 'a')
          const params = {
            from: 'a',
            to: 'b',
            ...(second === undefined ? {} : { metadata: second }),
            ...(metadataDirective === undefined ? {} : { metadataDirective }),
            ...(type === undefined ? {} : { contentType: type }),
          }
          await memory.copyObject(params)
          const derived = storedFromCopy(origin, params, LOCAL)
          if (derived !== null) expect(encodeStored(derived)).toEqual(encodeStored(await read(memory, 'b')))
        },
      ),
      { numRuns: 200 },
    )
  })

  it('are as MessagePack of any other writer', () => {
    // Beside each length at which MessagePack writes it otherwise, in bytes, of which a character may have up to four.
    const long = fc
      .tuple(fc.constantFrom(8, 16, 31, 64, 85, 128, 255, 21_845, 65_535), fc.constantFrom('a', 'é', '漢', '😀'))
      .chain(([length, unit]) => fc.constantFrom(-1, 0, 1).map((more) => unit.repeat(length + more)))
    const text = fc.oneof(fc.string({ unit: 'grapheme' }), long)
    const bytes = long.map((content) => Buffer.concat([Buffer.of(0xff), Buffer.from(content)]))
    const pairs = fc.oneof(
      fc.array(fc.tuple(text, text), { maxLength: 5 }),
      fc.constantFrom(15, 16, 300, 65_536).map((count) => new Array<[string, string]>(count).fill(['k', ''])),
    )
    const packr = new Packr({ useRecords: false, variableMapSize: true })
    const type = fc.option(text)
    fc.assert(
      fc.property(pairs, fc.oneof(text, bytes), type, type, (metadata, body, contentType, contentEncoding) => {
        const raw = encodeStored({ metadata, body, contentType, contentEncoding })
        expect(equalBytes(raw, packr.pack({ metadata, body, contentType, contentEncoding }))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  it('have their metadata in order, however many kinds of records take turns', () => {
    for (let round = 0; round < 3; round++) {
      for (let kind = 0; kind < 20; kind++) {
        const metadata = {
          [`b${kind}`]: 'b',
          c: 'c',
          [`a${kind % 7}`]: 'a',
          '9': String(kind),
          '10': 'x',
          X: 'upper',
          x: 'lower',
        }
        const stored = storedFromPut({ key: 'k', metadata }, LOCAL)?.metadata
        const named = { '9': String(kind), '10': 'x', c: 'c', [`a${kind % 7}`]: 'a', [`b${kind}`]: 'b', x: 'lower' }
        expect(stored).toEqual(Object.entries(named).sort(([a], [b]) => (a < b ? -1 : 1)))
        expect(storedOf({ Metadata: named }, undefined).metadata).toEqual(stored)
      }
    }
  })

  it('are the same bytes for the same object, whatever the order of its metadata', () => {
    const one = storedFromPut({ key: 'k', metadata: { b: '1', _v: '1', a: '2' }, body: 'x' }, LOCAL)
    const two = storedFromPut({ key: 'k', metadata: { a: '2', b: '1', _v: '1' }, body: Buffer.from('x') }, LOCAL)
    expect(one !== null && two !== null && Buffer.compare(encodeStored(one), encodeStored(two)) === 0).toBe(true)
  })

  it('know what headers do to values on S3', () => {
    const stored = storedFromPut(
      { key: 'k', metadata: { a: ' x ', b: ' ü ', c: 'd: ' } },
      { local: false, copiesExactly: false },
    )
    expect(stored?.metadata).toEqual([
      ['a', 'x'],
      ['b', ' ü '],
      ['c', 'd: '],
    ])
  })

  it('refuse raw images of something else', () => {
    expect(() => decodeStored(Buffer.from([0xc0]))).toThrow(expect.objectContaining({ code: 'TARGET_INVALID' }))
  })
})
