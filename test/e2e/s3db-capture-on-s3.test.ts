import { expect, test } from 'vitest'
import type { Item } from '../../src/model/event.ts'
import { compareItems } from '../../src/model/order.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { createSource } from '../../src/s3db/source.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { nameOf, RecordingSink, replay, sameImage } from '../support/recording-sink.ts'
import { s3ForTests } from '../support/s3.ts'
import { s3dbOnS3 } from '../support/s3db-on-s3.ts'
import { Workload } from '../support/workload.ts'

const server = s3ForTests()
const TIMEOUT_MS = 120_000

test.skipIf(server === null)(
  'writes on S3 are captured, listed and restored',
  async () => {
    if (server === null) throw new Error('no S3 server')
    const { open, bucket, prefix } = await s3dbOnS3(server)
    const db = open()
    await db.connect()
    const source = createSource(db)
    expect(source.identity).toBe(`s3://${bucket}/${prefix}?endpoint=${new URL(server.endpoint).host}`)
    const sink = new RecordingSink()
    sink.check = async (items, after) => {
      for (const [i, item] of items.entries()) {
        expect(sameImage(after[i] ?? null, await source.read(item)), JSON.stringify(item)).toBe(true)
      }
    }
    const detach = source.attach(sink)
    const workload = new Workload(db, { seed: 5, width: 8, ids: 6, remote: true })
    await workload.prepare()
    await workload.run(40)
    const padded = await db.createResource({ name: 'padded', attributes: { a: 'any' }, paranoid: false })
    await padded.insert({ id: '1', a: ' outer spaces ' })
    await padded.insert({ id: '1', a: 'twice' }).catch(() => null)
    const from = sink.changes.length
    await padded.deleteAll()
    expect(sink.changes.slice(from).map(({ operation, id }) => [operation, id])).toEqual([['delete', '1']])
    expect(await workload.read()).toEqual(workload.expected())

    const { state, breaks } = replay(sink.changes)
    expect(breaks).toEqual([])
    const items: Item[] = []
    for await (const batch of source.items()) items.push(...batch)
    expect(items).toEqual([...items].sort(compareItems))
    const read = new Map<string, unknown>()
    for (const item of items) read.set(nameOf(item), await source.read(item))
    const whole = nameOf({ kind: 'schema', resource: '', id: '' })
    expect(read.has(whole)).toBe(true)
    read.delete(whole) // it was there before the capture began
    expect(new Map([...state].sort())).toEqual(new Map([...read].sort()))
    detach()

    const copy = (await s3dbOnS3(server)).open()
    await copy.connect()
    const states: ItemState[] = []
    for await (const batch of createS3dbTarget(db).scan({})) states.push(...batch)
    const target = createS3dbTarget(copy)
    await target.write(states.map(({ image, ...item }) => ({ ...item, before: null, after: image })))
    await target.finish({})
    expect(await workload.read(workload.expected(), copy)).toEqual(workload.expected())
    await copy.disconnect()
    await db.disconnect()
  },
  TIMEOUT_MS,
)
