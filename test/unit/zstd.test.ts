import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { zstdCompress, zstdDecompress } from '../../src/format/segment/zstd.ts'

const CONTENTS: readonly Buffer[] = [
  Buffer.from('a'),
  Buffer.alloc(200_000, 'a page of many'),
  ...[100, 64 * 1024, 1_000_001].map((bytes) => randomBytes(bytes)),
]

test('what is compressed is read by others, whatever room there was for it', () => {
  for (const content of CONTENTS) {
    const [first, second] = [64, 2 * content.length + 1024].map((room) => zstdCompress(content, room))
    expect(zstdDecompressSync(first ?? '').equals(content)).toBe(true)
    expect(second).toEqual(first)
  }
})

test('what others compress is read, and nothing that has more bytes than it may', () => {
  for (const content of CONTENTS) {
    const most = Math.max(64, content.length)
    expect(content.equals(zstdDecompress(zstdCompressSync(content), most))).toBe(true)
    if (content.length > 64) expect(() => zstdDecompress(zstdCompressSync(content), most - 1)).toThrow()
  }
  expect(() => zstdDecompress(Buffer.from('no page'), 64)).toThrow()
})

test('the buffer of a page is garbage when nobody uses the page any more', async () => {
  const script = join(import.meta.dirname, '../support/page-buffers.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [script])
  expect(Number(stdout)).toBeLessThan(48 * 1024 * 1024)
})
