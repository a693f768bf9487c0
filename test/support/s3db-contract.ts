import type { S3db } from 's3db.js/lite'
import type { ItemState } from '../../src/index.ts'
import { createSource } from '../../src/s3db/source.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { ODD_IDS } from '../../src/testing/odd-ids.ts'
import type { RecordWrite, SourceUnderTest, TargetUnderTest } from '../../src/testing.ts'
import { newDatabase } from './s3db.ts'

/** s3db.js makes a part of a key of an id, and says which characters it does not take there. */
export const SOURCE_IDS: readonly string[] = ODD_IDS.filter(
  (id) => id.length < 200 && id.trim() !== '' && !/[\\/=%]/.test(id),
)

const ATTRIBUTES = { name: 'string', n: 'number' }

async function makeResources(db: S3db): Promise<void> {
  for (const name of ['users', 'orders']) await db.createResource({ name, attributes: ATTRIBUTES })
}

async function write(db: S3db, writes: readonly RecordWrite[]): Promise<void> {
  for (const { resource, id, value } of writes) {
    const records = db.resources[resource]
    if (records === undefined) throw new Error(`no resource ${resource}`)
    if (value === null) await records.delete(id)
    else if (await records.exists(id)) await records.update(id, value)
    else await records.insert({ id, ...value })
  }
}

/** A database of s3db.js as a source. */
export async function s3dbSource(db: S3db): Promise<SourceUnderTest> {
  await makeResources(db)
  return {
    source: createSource(db),
    write: (writes) => write(db, writes),
    dispose: () => db.disconnect(),
  }
}

/** An empty database of s3db.js as a target, and two states of another that fit it. */
export function s3dbTarget(db: S3db): TargetUnderTest {
  return {
    open: async () => createS3dbTarget(db),
    states: statesOf,
    dispose: () => db.disconnect(),
  }
}

async function statesOf(): Promise<readonly [readonly ItemState[], readonly ItemState[]]> {
  const { db } = await newDatabase('memory')
  await makeResources(db)
  const both = (id: string, n: number): RecordWrite[] => [
    { resource: 'users', id, value: { name: id, n } },
    { resource: 'orders', id, value: { name: id, n } },
  ]
  await write(
    db,
    ['a', 'b', 'c', 'd'].flatMap((id, n) => both(id, n)),
  )
  const first = await held(db)
  await write(
    db,
    ['b', 'e'].flatMap((id) => both(id, 9)),
  )
  await write(db, [{ resource: 'users', id: 'c', value: null }])
  const second = await held(db)
  await db.disconnect()
  return [first, second]
}

async function held(db: S3db): Promise<ItemState[]> {
  const states: ItemState[] = []
  for await (const batch of createS3dbTarget(db).scan({})) states.push(...batch)
  return states
}
