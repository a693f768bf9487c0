import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { addSlot } from '../../src/engine/key-slots.ts'
import { Keys } from '../../src/engine/keys.ts'
import { openForCapture as capture, type OpenStore, placeOf, openForReading as read } from '../../src/engine/opening.ts'
import { decodeKeySlot, encodeKeySlot } from '../../src/format/key-slot.ts'
import { slotKey } from '../../src/format/keys.ts'
import { type Environment, Secret } from '../../src/store/encryption/secret.ts'
import { SecretKey } from '../../src/store/encryption/store-key.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open.ts'
import { fails, keysOf } from '../../src/testing/objects.ts'
import { catalogueNodes, EMPTY_HEAD, nextGeneration } from '../../src/timeline/head.ts'
import { FaultyStore } from '../support/stores.ts'

const hex = (byte: number): string => Buffer.alloc(32, byte).toString('hex')
const secretOf = (byte: number): Secret => Secret.ofKey(hex(byte), 'a key of the test')
const TIMELINE = 'timeline/000000000001.json'

async function openForCapture(url: string, environment: Environment): Promise<OpenStore> {
  return capture(await placeOf(url, environment), 'db', systemClock)
}

async function openForReading(url: string, environment: Environment): Promise<OpenStore> {
  return read(await placeOf(url, environment))
}

let count = 0
let url = ''
beforeEach(() => {
  url = `memory:keys-${++count}`
})

/** A store that `TIDEMARK_KEY` 1 opens, with a file in it. */
async function made(): Promise<ObjectStore> {
  const { store, stored } = await openForCapture(url, { TIDEMARK_KEY: hex(1) })
  await store.put(TIMELINE, (await nextGeneration(EMPTY_HEAD, {}, catalogueNodes(store))).bytes)
  return stored
}

/** Whether a secret opens the store, down to the file. */
async function opens(byte: number): Promise<boolean> {
  try {
    const { store } = await openForReading(url, { TIDEMARK_KEY: hex(byte) })
    return (await store.get(TIMELINE)).length > 0
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENCRYPTION_KEY_WRONG' })
    return false
  }
}

const keysWith = (stored: ObjectStore, byte: number | null): Promise<Keys> =>
  Keys.open({ stored, name: 'test', secret: byte === null ? null : secretOf(byte), keyring: null })

describe('keys of a store', () => {
  test('several open it at once, and the last one stays', async () => {
    const stored = await made()
    const file = await stored.get(TIMELINE)
    const keys = await keysWith(stored, 1)
    const [first] = await keys.list()
    const { added } = await keys.add(secretOf(2))
    expect(added.length).toBe(1)
    expect((await keys.add(secretOf(2))).added).toEqual([])
    expect([await opens(1), await opens(2), await opens(3)]).toEqual([true, true, false])
    // By its own key alone nobody removes the key by which he came.
    expect(await fails(keys.remove(first?.id ?? ''))).toBe('ENCRYPTION_KEY_LAST')
    await (await keysWith(stored, 2)).remove(first?.id ?? '')
    expect([await opens(1), await opens(2)]).toEqual([false, true])
    expect(await fails((await keysWith(stored, 2)).remove(added[0] ?? ''))).toBe('ENCRYPTION_KEY_LAST')
    expect(await fails((await keysWith(stored, 2)).remove(first?.id ?? ''))).toBe('RECORD_NOT_FOUND')
    expect(await fails((await keysWith(stored, 1)).add(secretOf(3)))).toBe('ENCRYPTION_KEY_WRONG')
    expect(await fails((await keysWith(stored, null)).add(secretOf(3)))).toBe('ENCRYPTION_KEY_NEEDED')
    expect(await stored.get(TIMELINE)).toEqual(file)
  })

  test('a passphrase and a key can both open it; an error names the ids and never the secret', async () => {
    const stored = await made()
    const keys = await keysWith(stored, 1)
    const [id] = (await keys.add(Secret.ofPassphrase('correct horse', 'it'))).added
    await openForReading(url, { TIDEMARK_PASSPHRASE: 'correct horse' })
    const [first] = await keys.list()
    const wrong = await openForReading(url, { TIDEMARK_PASSPHRASE: 'canary-secret' }).catch((error: unknown) => error)
    expect(wrong).toMatchObject({ code: 'ENCRYPTION_KEY_WRONG', details: { keys: `${first?.id} ${id}` } })
    // An id must not read as if it were the passphrase.
    for (const error of [wrong, await openForReading(url, {}).catch((error: unknown) => error)]) {
      expect(String(error)).toMatch(
        new RegExp(`opens with a key \\(id ${first?.id}\\) or a passphrase \\(id ${id}\\)\\.`),
      )
    }
    expect(JSON.stringify(wrong)).not.toContain('canary-secret')
    const needed = await openForReading(url, {}).catch((error: unknown) => error)
    expect(needed).toMatchObject({ code: 'ENCRYPTION_KEY_NEEDED', details: { keys: `${first?.id} ${id}` } })
  })

  test('a rotation that breaks off anywhere leaves a key that opens everything, and goes on when it is run again', async () => {
    let calls = 0
    for (let broken = 1; broken <= calls + 1; broken++) {
      for (const point of ['before', 'after'] as const) {
        url = `memory:keys-${++count}`
        const stored = await made()
        const file = await stored.get(TIMELINE)
        let call = 0
        // Everything after the break fails: the process is dead.
        const dying = new FaultyStore(stored, () => (++call < broken ? null : call === broken ? point : 'before'))
        const rotation = async (store: ObjectStore): Promise<unknown> => (await keysWith(store, 1)).rotate(secretOf(2))
        const outcome = await rotation(dying).then(
          () => 'done',
          () => 'broken',
        )
        if (outcome === 'broken') calls = Math.max(calls, broken)
        expect((await opens(1)) || (await opens(2)), `call ${broken} ${point}`).toBe(true)
        await rotation(stored)
        expect([await opens(1), await opens(2)], `call ${broken} ${point}`).toEqual([false, true])
        expect((await keysOf(stored.list('key/'))).length).toBe(1)
        expect(await stored.get(TIMELINE)).toEqual(file)
      }
    }
    expect(calls).toBeGreaterThan(8)
  })

  test('an old key does not go where the new one does not open a file', async () => {
    const stored = await made()
    const put = stored.put.bind(stored)
    stored.put = async (key, body, options) => {
      const slot = body instanceof Uint8Array ? decodeKeySlot(body) : null
      await put(
        key,
        slot === null ? body : encodeKeySlot({ ...slot, wrapped: slot.wrapped.map((b) => b ^ 1) }),
        options,
      )
    }
    expect(await fails((await keysWith(stored, 1)).rotate(secretOf(2)))).toBe('ENCRYPTION_FAILED')
    stored.put = put
    const bytes = await stored.get(TIMELINE)
    await stored.put(
      TIMELINE,
      bytes.map((byte, at) => (at === 200 ? byte ^ 1 : byte)),
    )
    expect(await fails((await keysWith(stored, 1)).rotate(secretOf(2)))).toBe('OBJECT_CORRUPT')
    await stored.put(TIMELINE, bytes)
    expect(await opens(1)).toBe(true)
  })

  test('two that remove each other at the same moment leave a store that opens', async () => {
    const stored = await made()
    await (await keysWith(stored, 1)).add(secretOf(2))
    await (await keysWith(stored, 1)).add(secretOf(3))
    const remove = stored.delete.bind(stored)
    const racing = (): ObjectStore =>
      new Proxy(stored, {
        get: (target, name) =>
          name === 'delete'
            ? async (): Promise<void> => remove(await keysOf(stored.list('key/')))
            : Reflect.get(target, name).bind(target),
      })
    await (await keysWith(racing(), 1)).rotate(secretOf(2))
    expect(await opens(2)).toBe(true)
  })

  test('a damaged one is named; the others open the store', async () => {
    const stored = await made()
    const [id] = (await (await keysWith(stored, 1)).add(secretOf(2))).added
    const key = slotKey(id ?? '')
    const bytes = await stored.get(key)
    await stored.put(
      key,
      bytes.map((byte, at) => (at === 99 ? byte ^ 1 : byte)),
    )
    expect(await opens(1)).toBe(true)
    await expect(openForReading(url, { TIDEMARK_KEY: hex(2) })).rejects.toMatchObject({
      code: 'OBJECT_CORRUPT',
      details: { key },
    })
    await expect((await keysWith(stored, 1)).list()).rejects.toMatchObject({ code: 'OBJECT_CORRUPT', details: { key } })
    await (await keysWith(stored, 1)).remove(id ?? '')
    expect((await (await keysWith(stored, 1)).list()).length).toBe(1)
  })

  test('parameters that would cost gigabytes or hours are refused before any work', async () => {
    const slot = {
      id: '01KAJ0QZX3N5V7E8T9RYBWDCFG',
      storeKey: '01KAJ0QZX3N5V7E8T9RYBWDCFH',
      createdAt: '2026-11-21T00:00:00.000Z',
      wrapped: new Uint8Array(60),
    }
    const of = (N: number, r: number, p: number, salt = 16): boolean =>
      decodeKeySlot(encodeKeySlot({ ...slot, kdf: { name: 'scrypt', N, r, p, salt: new Uint8Array(salt) } })) !== null
    expect(of(2 ** 17, 8, 1)).toBe(true)
    expect(of(2 ** 18, 8, 2)).toBe(true)
    const refused: [number, number, number, number?][] = [
      [2 ** 30, 8, 1],
      [2 ** 17, 1024, 1],
      [2 ** 17, 8, 2 ** 20],
      [2 ** 16, 8, 1],
      [2 ** 17 + 1, 8, 1],
      [2 ** 17, 0, 1],
      [2 ** 17, 8, 1.5],
      [2 ** 17, 8, 1, 1],
      [2 ** 17, 8, 1, 1000],
    ]
    for (const parameters of refused) expect(of(...parameters), String(parameters)).toBe(false)
  })
})

describe('a store that is made', () => {
  test('by several processes at once has one key', async () => {
    const opened = await Promise.all(Array.from({ length: 6 }, () => openForCapture(url, { TIDEMARK_KEY: hex(1) })))
    expect(new Set(opened.map(({ file }) => file.storeKey)).size).toBe(1)
    await opened[0]?.store.put('x', Buffer.from('text'))
    for (const { store } of opened) expect(Buffer.from(await store.get('x')).toString()).toBe('text')
    expect((await keysOf((await openStore(url)).list('key/'))).length).toBe(1)
  })

  test('where another process died of it before, opens with its own key alone', async () => {
    const dead = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', storeKey: '01KAJ0QZX3N5V7E8T9RYBWDCFH' }
    await addSlot(await openStore(url), dead, SecretKey.random(), secretOf(1), systemClock)
    const { store, file } = await openForCapture(url, { TIDEMARK_KEY: hex(1) })
    await store.put('x', Buffer.from('text'))
    expect(file.id).not.toBe(dead.id)
    expect((await (await keysWith(await openStore(url), 1)).list()).length).toBe(1)
    expect(Buffer.from(await (await openForReading(url, { TIDEMARK_KEY: hex(1) })).store.get('x')).toString()).toBe(
      'text',
    )
  })

  test('is never opened as something that it is not', async () => {
    await made()
    expect(await fails(openForCapture(url, {}))).toBe('ENCRYPTION_KEY_NEEDED')
    expect(await fails(openForCapture(url, { TIDEMARK_KEY: hex(9) }))).toBe('ENCRYPTION_KEY_WRONG')
    await openForCapture(`${url}-plain`, {})
    for (const open of [openForReading, openForCapture]) {
      const opening = open(`${url}-plain`, { TIDEMARK_PASSPHRASE: 'x' })
      expect(await fails(opening)).toBe('STORE_NOT_ENCRYPTED')
    }
    expect(await keysOf((await openStore(`${url}-plain`)).list(''))).toEqual(['tidemark.json'])
  })
})
