/** Bytes behind the first byte of a value of fixed size, by that byte from 0xc0 on; the others are read below. */
const FIXED: Readonly<Record<number, number>> = {
  192: 0, // nil
  194: 0, // false
  195: 0, // true
  202: 4, // float
  203: 8,
  204: 1, // whole numbers without a sign
  205: 2,
  206: 4,
  207: 8,
  208: 1, // with one
  209: 2,
  210: 4,
  211: 8,
  212: 2, // extensions
  213: 3,
  214: 5,
  215: 9,
  216: 17,
}
/** Values that say their length: how many bytes it takes, and how many bytes stand between it and the content. */
const SIZED: Readonly<Record<number, readonly [number, number]>> = {
  196: [1, 0], // binary
  197: [2, 0],
  198: [4, 0],
  199: [1, 1], // extensions
  200: [2, 1],
  201: [4, 1],
  217: [1, 0], // text
  218: [2, 0],
  219: [4, 0],
}
/** Values that say how many values follow: the bytes of that number, and how many values each one is. */
const NESTED: Readonly<Record<number, readonly [number, number]>> = {
  220: [2, 1], // arrays
  221: [4, 1],
  222: [2, 2], // maps
  223: [4, 2],
}

/** Whether bytes are one whole MessagePack value and nothing else (github.com/msgpack/msgpack/blob/master/spec.md). */
export function isMessagePack(bytes: Uint8Array): boolean {
  let at = 0
  let wanted = 1
  const size = (count: number): number => {
    let value = 0
    for (let i = 0; i < count; i++) value = value * 256 + (bytes[at++] ?? Number.NaN)
    return value
  }
  for (; wanted > 0; wanted--) {
    const first = bytes[at++] ?? 193
    const [fixed, sized, nested] = [FIXED[first], SIZED[first], NESTED[first]]
    if (first < 0x80 || first >= 0xe0)
      continue // small whole numbers
    else if (first < 0x90) wanted += 2 * (first & 0x0f)
    else if (first < 0xa0) wanted += first & 0x0f
    else if (first < 0xc0) at += first & 0x1f
    else if (fixed !== undefined) at += fixed
    else if (sized !== undefined) {
      const length = size(sized[0])
      at += length + sized[1]
    } else if (nested !== undefined) wanted += size(nested[0]) * nested[1]
    else return false
    if (!(at + wanted - 1 <= bytes.length)) return false
  }
  return at === bytes.length
}
