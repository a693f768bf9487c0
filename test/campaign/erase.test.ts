import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { keyringKey } from '../../src/format/keys.ts'
import { KEY_BYTES } from '../../src/format/record-keys/key-tree.ts'
import { Keyring } from '../../src/format/record-keys/keyring.ts'
import { sealImage } from '../../src/format/record-keys/sealed-image.ts'
import { sealJson, unsealJson } from '../../src/format/sealed-json.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { attack, pathOf } from '../support/key-attack.ts'
import { recordImage } from '../support/model-database.ts'
import { runCampaign, Tally } from './campaign.ts'
import { erase, scenario } from './erase.ts'

test('erased records are unreadable for good, whichever way they are erased, and nothing else is touched', {
  timeout: 120_000,
}, async () => {
  const tally = await runCampaign(erase, { seeds: 9, first: Number(process.env.TIDEMARK_SEED ?? 1) })
  const ways = ['keys', 'rewritten', 'keys, then rewritten'].map((way) => `histories erased by ${way}`)
  const done = [
    'records erased',
    'erasures broken off',
    'records made again',
    'erasures at the same time',
    'keys tried',
    'members carried over',
    'snapshots made beside an erasure',
    'merges',
    'merges beside an erasure',
  ]
  for (const what of [...ways, ...done]) expect(tally.of(what), what).toBeGreaterThan(0)
})

/* The tests of the test: what is deleted must be gone, and the enemy must find it where it is only hidden. */
test('a place that keeps what is deleted does not go unnoticed', { timeout: 120_000 }, async () => {
  await expect(scenario(3, new Tally(), { keeps: true })).rejects.toThrow('still opens an image')
  await expect(scenario(1, new Tally(), { keeps: true })).rejects.toThrow('has an image as it was captured')
})

/* An old keyring that is still there, or a puncture that keeps the parent. */
test('the enemy opens an image where a single key was left', { timeout: 60_000 }, async () => {
  const name = { resource: 'people', id: 'ann' }
  const first = Keyring.create('01KAJ0QZX3N5V7E8T9RYBWDCFG')
  const sealed = sealImage(first, name, recordImage({ secret: 1 })).raw ?? new Uint8Array(0)
  const victim = { ...name, incarnation: 0, sealed: [sealed] }
  const second = first.without(name, 0, 2)
  const keys = new MemoryStore()
  await keys.put(keyringKey(2), second.encode())
  expect(await attack(keys, victim, true)).toBeGreaterThan(95 * 32)
  await keys.put(keyringKey(2), withParent(first, second, name))
  await expect(attack(keys, victim)).rejects.toThrow('still opens an image of people/ann')
  await keys.put(keyringKey(2), second.encode())
  await keys.put(keyringKey(1), first.encode())
  await expect(attack(keys, victim)).rejects.toThrow('still opens an image of people/ann')
})

/** The file of a broken puncture: where the leaf and its three siblings stand, the key of their parent. */
function withParent(first: Keyring, second: Keyring, name: { resource: string; id: string }): Uint8Array {
  const [whole, punctured] = [first, second].map((keyring) => unsealJson(keyring.encode()) ?? {})
  const shape = String(punctured?.shape)
  const at = shape.search(/\((?=k*-)/)
  const before = [...shape.slice(0, at)].filter((sign) => sign === 'k').length * KEY_BYTES
  const path = pathOf(Buffer.from(String(whole?.secret), 'base64'), { ...name, incarnation: 0 })
  let parent: Uint8Array = Buffer.from(String(whole?.keys), 'base64')
  for (const step of path.slice(0, -1)) parent = hash('sha256', Buffer.concat([parent, Buffer.of(step)]), 'buffer')
  const keys = Buffer.from(String(punctured?.keys), 'base64')
  const broken = Buffer.concat([keys.subarray(0, before), parent, keys.subarray(before + 3 * KEY_BYTES)])
  return sealJson({
    ...punctured,
    shape: `${shape.slice(0, at)}k${shape.slice(at + 5)}`,
    keys: broken.toString('base64'),
  })
}
