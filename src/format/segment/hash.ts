/** MurmurHash3, the 32-bit x86 variant (Austin Appleby, public domain), of `bytes[start, end)`; an unsigned integer. */
export function murmur3(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed | 0
  const blocksEnd = start + ((end - start) & ~3)
  let at = start
  for (; at < blocksEnd; at += 4) {
    const block =
      (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)
    hash ^= mixBlock(block)
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = end - 1; i >= at; i--) tail = (tail << 8) | (bytes[i] ?? 0)
  if (end > at) hash ^= mixBlock(tail)
  return finalMix(hash ^ (end - start))
}

/** Murmur3's finalizer: a bijection of 32-bit integers in which every bit of the input moves every bit of the output. */
export function finalMix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function mixBlock(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51)
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
}

/**
 * Hash of (kind, resource): the seed for the ids of that resource. Each part is hashed by itself, with its length, and
 * seeds the next, so nothing is joined and no delimiter can be forged.
 */
export function resourceHash(kind: number, resource: Uint8Array, start = 0, end: number = resource.length): number {
  return murmur3(resource, start, end, kind)
}

/** Hash of an item, for the Bloom filter: `kind` is its index in KINDS, the texts are UTF-8. */
export function itemHash(kind: number, resource: Uint8Array, id: Uint8Array): number {
  return murmur3(id, 0, id.length, resourceHash(kind, resource))
}
