import { createDecipheriv, hash } from 'node:crypto'
import type { ObjectStore } from '../../src/store/object-store.ts'

/** A record as the name of its key has it. */
export interface Victim {
  readonly resource: string
  readonly id: string
  /** How often it had been erased before. */
  readonly incarnation: number
  /** Raw parts of its images as they are stored: MessagePack binaries. */
  readonly sealed: readonly Uint8Array[]
}

const STEPS = 32

/**
 * An enemy with everything that is left in the place of the keyring, who knows whose record it was: tries every key of
 * every file as a node of the record's path, at its own depth or at every one, and opens the images with what comes out. Written from
 * FORMAT.md alone. Returns the keys that were tried. Throws where an image opens.
 */
export async function attack(keys: ObjectStore, victim: Victim, everywhere = false): Promise<number> {
  let tried = 0
  for await (const { key } of keys.list('')) {
    const file = JSON.parse(Buffer.from(await keys.get(key)).toString('utf8'))
    const nodes = Buffer.from(file.keys, 'base64')
    const path = pathOf(Buffer.from(file.secret, 'base64'), victim)
    for (const [index, own] of depthsOf(file.shape).entries()) {
      const depths = everywhere ? Array.from({ length: STEPS + 1 }, (_, depth) => depth) : [own]
      for (const depth of depths) {
        let node: Uint8Array = nodes.subarray(32 * index, 32 * index + 32)
        for (let step = depth; step < STEPS; step++) node = sha(node, Uint8Array.of(path[step] ?? 0))
        const encryption = sha(node, Uint8Array.of(0x10))
        tried++
        if (victim.sealed.some((raw) => opens(raw, encryption)))
          throw new Error(`${key} still opens an image of ${victim.resource}/${victim.id}`)
      }
    }
  }
  return tried
}

/** How many steps from the root each key of a tree is: every `(` has four children. */
function depthsOf(shape: string): number[] {
  const depths: number[] = []
  const open: number[] = []
  for (const sign of shape) {
    if (sign === 'k') depths.push(open.length)
    if (sign === '(') {
      open.push(4)
      continue
    }
    while (open.length > 0) {
      const left = (open.pop() ?? 0) - 1
      if (left > 0) {
        open.push(left)
        break
      }
    }
  }
  return depths
}

/** The steps of a record's path. */
export function pathOf(secret: Uint8Array, { resource, id, incarnation }: Omit<Victim, 'sealed'>): number[] {
  const lengths = Buffer.alloc(12)
  lengths.writeUInt32LE(incarnation, 0)
  lengths.writeUInt32LE(Buffer.byteLength(resource), 4)
  lengths.writeUInt32LE(Buffer.byteLength(id), 8)
  const name = sha(lengths, Buffer.from(resource), Buffer.from(id))
  const bits = [...sha(secret, name).subarray(0, 8)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return Array.from({ length: STEPS }, (_, step) => Number.parseInt(bits.slice(2 * step, 2 * step + 2), 2))
}

function opens(raw: Uint8Array, encryption: Uint8Array): boolean {
  const sealed = Buffer.from(raw).subarray({ 196: 2, 197: 3, 198: 5 }[raw[0] ?? 0] ?? 0)
  const decipher = createDecipheriv('aes-256-gcm', encryption, sealed.subarray(5, 17), { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  decipher.update(sealed.subarray(17, -16))
  try {
    decipher.final()
    return true
  } catch {
    return false // the tag does not fit this key
  }
}

function sha(...parts: readonly Uint8Array[]): Uint8Array {
  return hash('sha256', Buffer.concat(parts), 'buffer')
}
