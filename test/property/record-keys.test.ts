import { hash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { rawFromJson, rawToJson } from '../../src/format/raw-json.ts'
import { KEY_BYTES, KeyTree, PATH_BYTES, type StoredTree } from '../../src/format/record-keys/key-tree.ts'
import { Keyring } from '../../src/format/record-keys/keyring.ts'
import { sealEvents } from '../../src/format/record-keys/seal-events.ts'
import { openImage, sealImage } from '../../src/format/record-keys/sealed-image.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { Image } from '../../src/model/event.ts'
import { image, show, trickyId } from '../support/arbitrary.ts'
import { allEvents, events, frames, open, showEvent } from '../support/segments.ts'

const STORE = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
const runs = { numRuns: Number(process.env.TIDEMARK_RUNS ?? 60) }
const path = fc.uint8Array({ minLength: PATH_BYTES, maxLength: PATH_BYTES })
/** Paths that share long beginnings: two bits differ, anywhere. */
const nearPaths = fc
  .tuple(path, fc.array(fc.nat(PATH_BYTES * 8 - 1), { minLength: 1, maxLength: 12 }))
  .map(([first, bits]) => [first, ...bits.map((bit) => flipped(first, bit))])
const paths = fc.oneof(fc.array(path, { minLength: 1, maxLength: 12 }), nearPaths)

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}

/** The definition, written again: every step of a path by itself, from the root. */
function leafOf(root: Uint8Array, wanted: Uint8Array): string {
  let node = root
  const bits = [...wanted].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  for (let at = 0; at < bits.length; at += 2) {
    node = hash('sha256', Buffer.concat([node, Buffer.from([Number.parseInt(bits.slice(at, at + 2), 2)])]), 'buffer')
  }
  return Buffer.from(node).toString('hex')
}

function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('hex')
}

/** Every key that the material of a tree can make for a path: each stored key tried as the node at each depth. */
function derivable({ keys }: StoredTree, wanted: Uint8Array): Set<string> {
  const found = new Set<string>()
  for (let at = 0; at < keys.length; at += KEY_BYTES) {
    for (let depth = 0; depth <= PATH_BYTES * 4; depth++) {
      let node: Uint8Array = keys.subarray(at, at + KEY_BYTES)
      for (let step = depth; step < PATH_BYTES * 4; step++) {
        const child = ((wanted[step >> 2] ?? 0) >> (6 - 2 * (step & 3))) & 3
        node = hash('sha256', Buffer.concat([node, Buffer.from([child])]), 'buffer')
      }
      found.add(Buffer.from(node).toString('hex'))
    }
  }
  return found
}

test('after any punctures every other path has the key that it had, and a punctured one has none', () => {
  fc.assert(
    fc.property(paths, paths, (punctured, others) => {
      const root = randomBytes(KEY_BYTES)
      const gone = new Set<string | null>()
      let tree = KeyTree.of(root)
      for (const one of punctured) {
        expect(hex(tree.leaf(one))).toBe(gone.has(hex(one)) ? null : leafOf(root, one))
        tree = tree.without(one)
        gone.add(hex(one))
      }
      const again = KeyTree.parse(tree.stored)
      for (const one of [...punctured, ...others]) {
        const expected = gone.has(hex(one)) ? null : leafOf(root, one)
        expect(hex(tree.leaf(one))).toBe(expected)
        expect(hex(again?.leaf(one) ?? null)).toBe(expected)
      }
    }),
    runs,
  )
})

test('no key of a punctured tree makes a punctured key, wherever it is tried', () => {
  fc.assert(
    fc.property(fc.array(path, { minLength: 1, maxLength: 2 }), (punctured) => {
      const root = randomBytes(KEY_BYTES)
      const tree = punctured.reduce((left, one) => left.without(one), KeyTree.of(root))
      for (const one of punctured) {
        expect(derivable(tree.stored, one).has(leafOf(root, one))).toBe(false)
        // The test of the test: with one key of the path left, as a broken puncture would, it is found.
        const kept = keepParent(tree.stored, root, one)
        expect(derivable(kept, one).has(leafOf(root, one))).toBe(true)
      }
    }),
    { numRuns: 1 },
  )
})

function keepParent({ shape, keys }: StoredTree, root: Uint8Array, wanted: Uint8Array): StoredTree {
  let node: Uint8Array = root
  for (let step = 0; step < PATH_BYTES * 4 - 1; step++) {
    const child = ((wanted[step >> 2] ?? 0) >> (6 - 2 * (step & 3))) & 3
    node = hash('sha256', Buffer.concat([node, Buffer.from([child])]), 'buffer')
  }
  return { shape, keys: Buffer.concat([keys, node]) }
}

test('one puncture adds 95 keys and a few kilobytes to the file, a hundred at most so many each', () => {
  let keyring = Keyring.create(STORE)
  const empty = keyring.encode().length
  keyring = keyring.without({ resource: 'users', id: 'u0' }, 0, 2)
  expect(keyring.encode().length - empty).toBeLessThan(4.4 * 1024)
  for (let i = 1; i < 100; i++) keyring = keyring.without({ resource: 'users', id: `u${i}` }, 0, 2 + i)
  expect(keyring.encode().length).toBeLessThan(100 * 4.2 * 1024)
})

test('a stored tree that was cut, or that grew, is none', () => {
  const { shape, keys } = KeyTree.of(randomBytes(KEY_BYTES)).without(randomBytes(PATH_BYTES)).stored
  for (const bad of [
    { shape: shape.slice(0, -1), keys },
    { shape: `${shape}k`, keys: Buffer.concat([keys, randomBytes(KEY_BYTES)]) },
    { shape, keys: keys.slice(0, -1) },
    { shape, keys: keys.slice(0, -KEY_BYTES) },
    { shape: shape.replace('k', '-'), keys: keys.slice(KEY_BYTES) },
    { shape: '', keys: new Uint8Array(0) },
    { shape: `${'('.repeat(33)}${'k'.repeat(4 + 32 * 3)}`, keys: randomBytes(KEY_BYTES * 100) },
  ]) {
    expect(KeyTree.parse(bad)).toBe(null)
  }
  expect(KeyTree.parse({ shape, keys })).not.toBe(null)
})

test('a sealed image opens to the same bytes for its own record and life only, and says nothing without the keys', () => {
  const name = fc.record({ resource: trickyId, id: trickyId })
  fc.assert(
    fc.property(image, name, name, (plain, record, other) => {
      const keyring = Keyring.create(STORE)
      const sealed = sealImage(keyring, record, plain)
      expect(openShown(keyring, record, sealed)).toBe(show(plain))
      expect(show(sealImage(keyring, record, plain))).toBe(show(sealed))
      const decoded = Keyring.decode(keyring.encode())
      expect(decoded === null ? null : openShown(decoded, record, sealed)).toBe(show(plain))
      if (JSON.stringify(record) !== JSON.stringify(other)) {
        expect(openImage(keyring, other, sealed)).toBe('damaged')
        expect(show(sealImage(keyring, other, plain))).not.toBe(show(sealed))
      }
      expect(openImage(Keyring.create(STORE), record, sealed)).toBe('damaged')
      // As a line of a snapshot has it.
      const raw = rawFromJson(JSON.parse(rawToJson(sealed.raw)))
      expect(openShown(keyring, record, { json: sealed.json, raw })).toBe(show(plain))

      const erased = keyring.without(record, 0, 2)
      expect(openImage(erased, record, sealed)).toBe('erased')
      const second = sealImage(erased, record, plain)
      expect(openShown(erased, record, second)).toBe(show(plain))
      expect(show(second)).not.toBe(show(sealed))
      expect(openImage(erased.without(record, 1, 3), record, second)).toBe('erased')
    }),
    runs,
  )
})

test('one flipped bit anywhere in a sealed image is seen, or says that the record was erased in another life', () => {
  const keyring = Keyring.create(STORE)
  const record = { resource: 'users', id: 'u1' }
  for (const text of ['{}', '{"id":"u1","text":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}']) {
    const sealed = sealImage(keyring, record, { json: Buffer.from(text), raw: Buffer.from([0xc0]) })
    for (let bit = 0; bit < (sealed.raw?.length ?? 0) * 8; bit++) {
      const raw = flipped(sealed.raw ?? Buffer.alloc(0), bit)
      expect(openImage(keyring, record, { json: sealed.json, raw })).toBe('damaged')
    }
  }
})

test('large images open again, and deflate where that helps', () => {
  const keyring = Keyring.create(STORE)
  const record = { resource: 'users', id: 'u1' }
  const round = (plain: Image): number => {
    const sealed = sealImage(keyring, record, plain)
    expect(openShown(keyring, record, sealed)).toBe(show(plain))
    return sealed.raw?.length ?? 0
  }
  expect(round({ json: Buffer.from(`{"a":"${'x'.repeat(200_000)}"}`), raw: null })).toBeLessThan(1000)
  const noise = randomBytes(100_000)
  expect(round({ json: Buffer.from('{}'), raw: noise })).toBeLessThan(noise.length + 60)
})

test('sealing events changes the images of records and nothing else, and the chain goes over what is stored', async () => {
  await fc.assert(
    fc.asyncProperty(events('s1', 30), async (list) => {
      const keyring = Keyring.create(STORE)
      const regions = frames(list, 2).map((region) => sealEvents(keyring, region))
      const segment = encodeSegment(regions, { stream: 's1', level: 0 })
      const { reader } = await open(segment)
      const stored = await allEvents(reader)
      const opened = stored.map((event) => {
        if (event.kind !== 'record') return showEvent(event)
        for (const one of [event.before, event.after]) if (one !== null) expect(show(one)).toMatch(/^\{"tidemark"/)
        const back = (one: Image | null): Image | null => (one === null ? null : opening(keyring, event, one))
        return showEvent({ ...event, before: back(event.before), after: back(event.after) } as typeof event)
      })
      expect(opened.sort()).toEqual(list.map(showEvent).sort())
    }),
    { numRuns: 30 },
  )
})

function opening(keyring: Keyring, name: { resource: string; id: string }, sealed: Image): Image {
  const opened = openImage(keyring, name, sealed)
  if (typeof opened === 'string') throw new Error(opened)
  return opened
}

function openShown(keyring: Keyring, name: { resource: string; id: string }, sealed: Image): string {
  return show(opening(keyring, name, sealed))
}
