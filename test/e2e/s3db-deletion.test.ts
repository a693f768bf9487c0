import { describe, expect, it } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import type { Sink, Write } from '../../src/capture/source.ts'
import type { Context, Image, Item } from '../../src/model/event.ts'
import type { StorageClient } from '../../src/s3db/client.ts'
import { createSource } from '../../src/s3db/source.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { newDatabase } from '../support/s3db.ts'

const MIB = 1024 * 1024
const keyOf = (id: string): string => `resource=records/data/id=${id}`
const bytesOf = (images: readonly (Image | null)[]): number =>
  images.reduce((sum, image) => sum + (image?.json.length ?? 0) + (image?.raw?.length ?? 0), 0)

/** Keeps the bytes of images that each deletion held, and fails when told to. */
class Watching implements Sink {
  readonly #inner = new RecordingSink()
  readonly held: number[] = []
  readonly steps: number[] = []
  /** Asked before each capture. */
  fail: () => Error | null = () => null

  async capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const failure = this.fail()
    if (failure !== null) throw failure
    const result = await this.#inner.capture(items, context, {
      read: async () => {
        const images = await write.read()
        this.held.push(bytesOf(images))
        return images
      },
      perform: () => write.perform(),
      after: (before, done) => write.after(before, done),
    })
    this.steps.push(items.length)
    return result
  }

  get deleted(): number {
    return this.#inner.changes.filter(({ operation }) => operation === 'delete').length
  }
}

async function rig(sizes: readonly number[]): Promise<{ client: StorageClient; sink: Watching; keys: string[] }> {
  const { db } = await newDatabase('memory')
  const keys = sizes.map((_, i) => keyOf(String(i).padStart(4, '0')))
  for (const [i, key] of keys.entries()) await db.client.putObject({ key, body: Buffer.alloc(sizes[i] ?? 0, 0xfe) })
  const sink = new Watching()
  createSource(db).attach(sink)
  return { client: Object.assign(db.client), sink, keys }
}

const full = (heldBytes: number): TidemarkError =>
  new TidemarkError('JOURNAL_FULL', 'The write was refused.', { hint: 'Wait.', details: { heldBytes } })

describe('a deletion of many records', () => {
  it.each(['deleteAll', 'deleteObjects'] as const)(
    'holds a bounded part of them, whatever their sizes, %s',
    async (way) => {
      const sizes = [...Array(30).fill(2 * MIB), ...Array(450).fill(10), ...Array(10).fill(3 * MIB), 20 * MIB, 5]
      const { client, sink, keys } = await rig(sizes)
      await (way === 'deleteAll' ? client.deleteAll({ prefix: 'resource=records/' }) : client.deleteObjects(keys))
      expect(sink.deleted).toBe(keys.length)
      expect(Math.max(...sink.held)).toBeLessThan(21 * MIB) // one record alone may be larger than a step
      expect(sink.held.filter((bytes) => bytes > 4 * MIB + 1).length).toBe(1)
      expect(Math.max(...sink.steps)).toBe(200)
      expect(await client.getAllKeys({ prefix: 'resource=records/' })).toEqual([])
    },
  )

  it('says what is deleted and what is not where a step fails', async () => {
    const { client, sink, keys } = await rig(Array(10).fill(2 * MIB))
    sink.fail = () => (sink.deleted >= 4 ? new TidemarkError('CAPTURE_CLOSED', 'It was closed.', { hint: '-' }) : null)
    await expect(client.deleteObjects(keys)).rejects.toMatchObject({
      code: 'DELETE_INCOMPLETE',
      message: expect.stringMatching(/^4 of 10 objects were deleted.* other 6.*id=0004.*It was closed/s),
      details: { deleted: 4, notDeleted: 6, firstNotDeleted: keyOf('0004') },
    })
    expect(await client.getAllKeys({ prefix: 'resource=records/' })).toEqual(keys.slice(4))
  })

  it('fails with the error itself where nothing is deleted', async () => {
    const { client, sink, keys } = await rig([1, 1])
    sink.fail = () => full(1)
    await expect(client.deleteObjects(keys)).rejects.toMatchObject({ code: 'JOURNAL_FULL' })
    expect((await client.getAllKeys({ prefix: 'resource=records/' })).length).toBe(2)
  })

  it('waits for room in the journal as long as the store takes events', async () => {
    const { client, sink, keys } = await rig(Array(6).fill(2 * MIB))
    let held = 3
    sink.fail = () => (sink.deleted > 0 && held > 0 ? full(held--) : null)
    await client.deleteObjects(keys)
    expect([sink.deleted, held]).toEqual([6, 0])
  })
})
