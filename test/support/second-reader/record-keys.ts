import { createDecipheriv } from 'node:crypto'
import { inflateRawSync } from 'node:zlib'
import { must, sealed, sha, u32 } from './bytes.ts'
import type { Image, Item } from './events.ts'
import type { Files, Timeline } from './timeline.ts'

const SEALED = '{"tidemark":"sealed"}'

interface Keyring {
  format: number
  store: string
  generation: number
  secret: string
  shape: string
  keys: string
}

/** Opens images: null is one whose key was destroyed. */
export type Opener = (item: Item, image: Image) => Image | null

/** Images as they are, where a store has no record keys. */
export const asTheyAre: Opener = (_, image) => image

/** The keyring in force (6.3). */
export function openerOf(files: Files, store: string, { erasures }: Timeline): Opener {
  const number = Math.max(1, ...erasures.map(({ keyring }) => keyring ?? 0))
  const ring: Keyring = sealed(files.get(`keyring/${String(number).padStart(12, '0')}.json`))
  must(ring.format === 1 && ring.store === store && ring.generation === number, 'another keyring')
  return (item, image) => {
    if (item.kind !== 'record') return image
    must(image.json === SEALED && image.raw !== null, `${item.id} is not sealed`)
    return open(ring, item, binaryOf(Buffer.from(image.raw)))
  }
}

/** What is in one MessagePack binary. */
function binaryOf(raw: Buffer): Buffer {
  const size = { 196: 1, 197: 2, 198: 4 }[raw.readUInt8(0)] ?? 0
  must(size > 0 && raw.readUIntBE(1, size) === raw.length - 1 - size, 'no binary')
  return raw.subarray(1 + size)
}

function open(ring: Keyring, { resource, id }: Item, bytes: Buffer): Image | null {
  must(bytes.readUInt8(0) === 1, 'another form of a sealed image')
  const [r, i] = [Buffer.from(resource), Buffer.from(id)]
  const name = sha(u32(bytes.readUInt32LE(1)), u32(r.length), u32(i.length), r, i)
  const leaf = leafOf(ring, sha(Buffer.from(ring.secret, 'base64'), name).subarray(0, 8))
  if (leaf === null) return null
  const nonce = bytes.subarray(5, 17)
  const decipher = createDecipheriv('aes-256-gcm', sha(leaf, Buffer.of(0x10)), nonce)
  decipher.setAuthTag(bytes.subarray(-16))
  const body = Buffer.concat([decipher.update(bytes.subarray(17, -16)), decipher.final()])
  must(
    sha(sha(leaf, Buffer.of(0x11)), sha(body))
      .subarray(0, 12)
      .equals(nonce),
    'another nonce',
  )
  const rest = body[0] === 1 ? inflateRawSync(body.subarray(1)) : body.subarray(1)
  const end = 4 + rest.readUInt32LE(0)
  return { json: rest.toString('utf8', 4, end), raw: rest[end] === 1 ? rest.subarray(end + 1) : null }
}

/** Walks the tree along the path, two bits a step, and reckons on from the node that is kept. */
function leafOf({ shape, keys }: Keyring, path: Buffer): Buffer | null {
  const steps = Array.from({ length: 32 }, (_, n) => ((path[n >> 2] ?? 0) >> (6 - 2 * (n & 3))) & 3)
  const nodes = Buffer.from(keys, 'base64')
  let [at, kept] = [0, 0]
  /** Passes over one node with everything below it. */
  const skip = (): void => {
    const sign = shape[at++]
    if (sign === 'k') kept++
    if (sign === '(') for (let child = 0; child < 4; child++) skip()
  }
  for (let depth = 0; ; depth++) {
    const sign = shape[at++]
    if (sign === '-') return null
    if (sign === 'k') {
      let node: Buffer = nodes.subarray(32 * kept, 32 * kept + 32)
      for (const step of steps.slice(depth)) node = sha(node, Buffer.of(step))
      return node
    }
    must(sign === '(', 'another shape')
    for (let child = 0; child < (steps[depth] ?? 0); child++) skip()
  }
}
