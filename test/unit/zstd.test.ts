import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { constants, createZstdCompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { PageMemory } from '../../src/format/segment/page-memory.ts'
import { contextOf, zstdCompress, zstdDecompress } from '../../src/format/segment/zstd.ts'
import { frameBytes } from '../../src/format/segment/zstd-frame.ts'

const CONTENTS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('a'),
  Buffer.alloc(255, 'at the edges of'),
  Buffer.alloc(256, 'how a length is written'),
  Buffer.alloc(65_791, 'in two bytes'),
  Buffer.alloc(65_792, 'and in four'),
  Buffer.alloc(200_000, 'a page of many'),
  ...[100, 64 * 1024, 1_000_001, 9_000_000].map((bytes) => randomBytes(bytes)),
]

/** Frames of the same content that others may have made: with the length and without, with a checksum, with a window of its own. */
async function framesOf(content: Buffer): Promise<readonly Buffer[]> {
  const checked = { [constants.ZSTD_c_checksumFlag]: 1 }
  const narrow = { [constants.ZSTD_c_windowLog]: 10 }
  const stream = createZstdCompress()
  stream.end(content)
  return [
    zstdCompressSync(content),
    zstdCompressSync(content, { params: checked }),
    zstdCompressSync(content, { params: narrow }),
    await buffer(stream),
  ]
}

test('what is compressed is read by others, and is one frame that says its length', () => {
  for (const content of CONTENTS) {
    const compressed = zstdCompress(content)
    expect(zstdDecompressSync(compressed).equals(content)).toBe(true)
    expect(frameBytes(compressed)).toBe(content.length)
  }
})

test('what others compress is read, and nothing that has more or fewer bytes than it is to have', async () => {
  for (const content of CONTENTS) {
    for (const frame of await framesOf(content)) {
      expect(content.equals(zstdDecompress(frame, content.length))).toBe(true)
      expect(() => zstdDecompress(frame, content.length + 1)).toThrow()
      if (content.length > 1) expect(() => zstdDecompress(frame, content.length - 1)).toThrow()
    }
  }
  expect(() => zstdDecompress(Buffer.from('no page'), 64)).toThrow()
})

test('a frame that is not whole is no frame, and leaves nothing behind for the next page', async () => {
  const [content, next] = [Buffer.from('what is in a page '.repeat(30)), randomBytes(300)]
  for (const frame of (await framesOf(content)).slice(0, 3)) {
    for (let end = 0; end < frame.length; end++) {
      expect(frameBytes(frame.subarray(0, end))).toBe(null)
      expect(() => zstdDecompress(frame.subarray(0, end), content.length)).toThrow()
    }
    expect(frameBytes(Buffer.concat([frame, Buffer.alloc(1)]))).toBe(null)
    for (let bit = 0; bit < 8 * frame.length; bit++) {
      const damaged = Buffer.from(frame)
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      try {
        // It may pass for another page of the same length: what stands around it has checksums.
        zstdDecompress(damaged, content.length)
      } catch {}
      expect(next.equals(zstdDecompress(zstdCompress(next), next.length))).toBe(true)
    }
  }
})

test('a stream without the handle that is expected does the same, call by call', () => {
  const never = (): never => {
    throw new Error('it has a handle')
  }
  const strange = Object.defineProperty(createZstdCompress(), '_handle', { value: {} })
  for (const content of CONTENTS) {
    const byHandle = Buffer.alloc(content.length + 100_000)
    const once = Buffer.alloc(content.length + 100_000)
    const length = contextOf(createZstdCompress(), never).put(content, byHandle)
    const onceLength = contextOf(strange, (input) => zstdCompressSync(input)).put(content, once)
    expect(zstdDecompressSync(once.subarray(0, onceLength)).equals(content)).toBe(true)
    expect(zstdDecompressSync(byHandle.subarray(0, length)).equals(content)).toBe(true)
  }
})

test('pages that are taken into one memory stand beside each other until it is cleared', () => {
  const memory = new PageMemory()
  for (const size of [10, 5000, 200_000]) {
    const pages = [1, 2, 3].map((number) => Buffer.alloc(size, `page ${number} `))
    const taken = pages.map((page) => zstdDecompress(zstdCompress(page), size, memory))
    for (const [i, page] of pages.entries()) expect(page.equals(taken[i] ?? Buffer.alloc(0))).toBe(true)
    memory.clear()
  }
  // As of each row group, a large page and a small one: from the second time on the memory is the same.
  const places = [1, 2, 3].map(() => {
    memory.clear()
    return [500_000, 100].map((bytes) => memory.take(bytes)).map(({ buffer, byteOffset }) => ({ buffer, byteOffset }))
  })
  for (const at of [0, 1]) expect(places[2]?.[at]?.buffer).toBe(places[1]?.[at]?.buffer)
  expect(places[2]?.map(({ byteOffset }) => byteOffset)).toEqual([0, 500_000])
})

test('the buffer of a page is garbage when nobody uses the page any more', async () => {
  const script = join(import.meta.dirname, '../support/page-buffers.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [script])
  expect(Number(stdout)).toBeLessThan(48 * 1024 * 1024)
})
