import { finalMix } from './hash.ts'

/*
 * A split-block Bloom filter as in the Parquet specification (blocks of 8 words of 32 bits, one bit a word, the same
 * salts), over a 32-bit hash: the block is chosen by the high bits of the hash, the bits in it by its final mix.
 */
const BITS_PER_KEY = 12
const BLOCK_BYTES = 32
const SALTS: Int32Array = new Int32Array([
  0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
])

/** The filter of `hashes`. Its length is a multiple of 32 bytes, little endian. */
export function buildBloom(hashes: Uint32Array): Uint8Array {
  const blocks = Math.max(1, Math.ceil((hashes.length * BITS_PER_KEY) / (BLOCK_BYTES * 8)))
  const bloom = new Uint8Array(blocks * BLOCK_BYTES)
  for (const hash of hashes) {
    const block = blockOf(hash, blocks)
    const bits = finalMix(hash)
    for (let word = 0; word < 8; word++) {
      const bit = Math.imul(bits, SALTS[word] ?? 0) >>> 27
      const at = block + word * 4 + (bit >> 3)
      bloom[at] = (bloom[at] ?? 0) | (1 << (bit & 7))
    }
  }
  return bloom
}

/** Whether `hash` may be one of those that the filter was built of; false is certain. */
export function bloomMayContain(bloom: Uint8Array, hash: number): boolean {
  const block = blockOf(hash, bloom.length / BLOCK_BYTES)
  const bits = finalMix(hash)
  for (let word = 0; word < 8; word++) {
    const bit = Math.imul(bits, SALTS[word] ?? 0) >>> 27
    if (((bloom[block + word * 4 + (bit >> 3)] ?? 0) & (1 << (bit & 7))) === 0) return false
  }
  return true
}

function blockOf(hash: number, blocks: number): number {
  return Math.floor((hash * blocks) / 2 ** 32) * BLOCK_BYTES
}

/** A filter as the catalogue has it, base64; undefined where it is too long for that: longer than `most` bytes. */
export function shortFilter(bloom: Uint8Array, most: number): string | undefined {
  return bloom.length <= most ? Buffer.from(bloom).toString('base64') : undefined
}

/** Whether a value is what `shortFilter` gives. */
export function isShortFilter(value: unknown, most: number): boolean {
  if (typeof value !== 'string') return false
  const bytes = Buffer.from(value, 'base64')
  const isWhole = bytes.length > 0 && bytes.length % BLOCK_BYTES === 0 && bytes.length <= most
  return isWhole && bytes.toString('base64') === value
}
