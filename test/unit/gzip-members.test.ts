import { randomBytes } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Compressors, inflatedBytes, inflateMember } from '../../src/restore/gzip-members.ts'

/** From nothing to what comes out in very many pieces: what does not compress, and what does. */
const CONTENTS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('{"id":"u1"}\n'),
  ...[65_535, 65_536, 65_537, 3_000_001].map((bytes) => randomBytes(bytes)),
  Buffer.alloc(5_000_000, '{"id":"u1","name":"Ann"}\n'),
]

function inHalves(content: Buffer): readonly Buffer[] {
  const middle = content.length >> 1
  return [content.subarray(0, middle), content.subarray(middle)]
}

test('members that are made by one stream after the other, and by several at once, are each what went in', async () => {
  const compressors = new Compressors(3)
  for (const content of CONTENTS) {
    const member = await compressors.compress(inHalves(content))
    expect(gunzipSync(Buffer.concat(member)).equals(content)).toBe(true)
    expect(inflatedBytes(member)).toBe(content.length)
  }
  const members = await Promise.all(CONTENTS.map((content) => compressors.compress([content])))
  compressors.close()
  const read = members.map((member) => gunzipSync(Buffer.concat(member)))
  expect(read.map((one, i) => CONTENTS[i]?.equals(one))).toEqual(CONTENTS.map(() => true))
})

test('members are inflated to what was compressed, one after the other and several at once', async () => {
  for (const content of CONTENTS) {
    const inflated = await inflateMember(gzipSync(content), content.length)
    expect(content.equals(inflated)).toBe(true)
  }
  const all = await Promise.all(CONTENTS.map((content) => inflateMember(gzipSync(content), content.length)))
  expect(all.map((one, i) => CONTENTS[i]?.equals(one))).toEqual(CONTENTS.map(() => true))
})

test('a member that is damaged, cut off, too long, or followed by something is refused, and the next one is read', async () => {
  const content = randomBytes(200_000)
  const member = gzipSync(content)
  const damaged = Buffer.from(member)
  damaged.writeUInt32LE(~damaged.readUInt32LE(member.length - 8) >>> 0, member.length - 8)
  const wrong: readonly (readonly [Buffer, number])[] = [
    [damaged, content.length],
    [member.subarray(0, -1), content.length],
    [member.subarray(0, 1000), content.length],
    [Buffer.alloc(0), content.length],
    [member, content.length - 1],
    [member, content.length + 1],
    [Buffer.concat([member, Buffer.from('more')]), content.length],
    [Buffer.concat([member, member]), content.length],
  ]
  for (const [bytes, length] of wrong) {
    await expect(inflateMember(bytes, length)).rejects.toThrow()
    expect(content.equals(await inflateMember(member, content.length))).toBe(true)
  }
})

test('the length that a member tells stands at its end, in whatever parts', () => {
  const member = gzipSync(Buffer.alloc(70_000))
  expect(inflatedBytes([member])).toBe(70_000)
  expect(inflatedBytes(Array.from(member, (byte) => Buffer.of(byte)))).toBe(70_000)
  expect(inflatedBytes([Buffer.alloc(7)])).toBe(0)
})
