import { createDecipheriv, hkdfSync, scryptSync } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/*
 * A second implementation of the encryption, made from section 9 of schemas/FORMAT.md alone: nothing of src is used.
 */

/** What opens a store. */
export type Opener = { readonly passphrase: string } | { readonly key: Uint8Array }

/** Every file of an encrypted store in a directory, decrypted, by key. Throws where anything is not authentic. */
export function readSealedStore(directory: string, opener: Opener): Map<string, Buffer> {
  const read = (key: string): Buffer => readFileSync(join(directory, key))
  const { id, encryption } = JSON.parse(read('tidemark.json').toString())
  const storeKey = storeKeyOf(directory, id, encryption.storeKey, opener)
  const files = new Map<string, Buffer>()
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const key = join(entry.parentPath, entry.name).slice(directory.length + 1)
    if (!entry.isFile() || key === 'tidemark.json' || key.startsWith('key/') || key.startsWith('.tmp')) continue
    files.set(key, openFile(read(key), key, encryption.storeKey, storeKey))
  }
  return files
}

/** Opens the encrypted frames of a journal of such a store (9.3): the body is plain, the header stays as it is. */
export function frameOpener(directory: string, opener: Opener, stream: string): (frame: Buffer) => Buffer {
  const { id, encryption } = JSON.parse(readFileSync(join(directory, 'tidemark.json'), 'utf8'))
  const storeKey = storeKeyOf(directory, id, encryption.storeKey, opener)
  const key = Buffer.from(hkdfSync('sha256', storeKey, '', `tidemark journal ${stream}`, 32))
  return (frame) => {
    if (frame.toString('latin1', 0, 4) !== 'TMFE') return frame
    const nonce = Buffer.concat([frame.subarray(90, 96), frame.subarray(8, 14)])
    return Buffer.concat([frame.subarray(0, 96), open(key, nonce, frame.subarray(96), frame.subarray(8, 96))])
  }
}

function storeKeyOf(directory: string, store: string, id: string, opener: Opener): Buffer {
  for (const name of readdirSync(join(directory, 'key'))) {
    const slot = JSON.parse(readFileSync(join(directory, 'key', name), 'utf8'))
    const { kdf } = slot
    if (slot.storeKey !== id || (kdf.name === 'raw') !== 'key' in opener) continue
    const wrapping = 'key' in opener ? Buffer.from(opener.key) : fromPassphrase(opener.passphrase, kdf)
    const context = ['tidemark key slot 1', store, slot.id, id].join('\n')
    const wrapped = Buffer.from(slot.wrapped, 'base64')
    try {
      return open(wrapping, wrapped.subarray(0, 12), wrapped.subarray(12), Buffer.from(context))
    } catch {
      // another key's slot
    }
  }
  throw new Error('no slot opens')
}

function fromPassphrase(passphrase: string, kdf: { N: number; r: number; p: number; salt: string }): Buffer {
  const { N, r, p, salt } = kdf
  return scryptSync(passphrase.normalize('NFC'), Buffer.from(salt, 'base64'), 32, { N, r, p, maxmem: 2 ** 30 })
}

function openFile(file: Buffer, key: string, storeKeyId: string, storeKey: Buffer): Buffer {
  if (file.toString('latin1', 0, 30) !== `TME1${storeKeyId}`) throw new Error(`${key} is not encrypted for this store`)
  const dataKey = open(
    storeKey,
    file.subarray(36, 48),
    file.subarray(48, 96),
    Buffer.concat([file.subarray(0, 36), Buffer.from(key)]),
  )
  const parts: Buffer[] = []
  for (let at = 96, n = 0; at < file.length || n === 0; at += 65_552, n++) {
    const chunk = file.subarray(at, at + 65_552)
    const nonce = Buffer.alloc(12)
    nonce.writeUInt32BE(n, 7)
    nonce[11] = at + chunk.length === file.length ? 1 : 0
    parts.push(open(dataKey, nonce, chunk, Buffer.alloc(0)))
  }
  return Buffer.concat(parts)
}

function open(key: Buffer, nonce: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce)
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}
