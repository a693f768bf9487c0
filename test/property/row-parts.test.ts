import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryStore } from '../../src/store/memory.ts'
import { RowParts } from '../../src/upkeep/row-parts.ts'

test('every row comes back once, in its part and in its order, and nothing is left in the scratch space', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 20_000, maxLength: 20_000 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 5 }),
      async (given, count) => {
        const scratch = new MemoryStore()
        const rowParts = new RowParts(() => scratch, 'rows', count, 20_000)
        const reused = Buffer.alloc(20_000)
        for (const row of given) {
          reused.set(row)
          await rowParts.add(reused)
        }
        for (let part = 0; part < count; part++) {
          const expected = given.filter((row) => Buffer.from(row).readUInt32LE(0) % count === part)
          const found: Buffer[] = []
          for await (const row of rowParts.rows(part)) found.push(Buffer.from(row))
          expect(found.map((row) => row.toString('base64'))).toEqual(
            expected.map((row) => Buffer.from(row).toString('base64')),
          )
          await rowParts.drop(part)
        }
        for await (const { key } of scratch.list('')) throw new Error(`${key} was left behind`)
      },
    ),
    { numRuns: 40 },
  )
})

test('what is one part asks for no scratch space', async () => {
  const rowParts = new RowParts(() => expect.fail('scratch space'), 'rows', 1, 4096)
  for (let i = 0; i < 100; i++) await rowParts.add(Buffer.alloc(4096, i))
  let rows = 0
  for await (const row of rowParts.rows(0)) expect(row[0]).toBe(rows++)
  expect(rows).toBe(100)
})
