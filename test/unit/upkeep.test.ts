import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { upkeepOf } from '../../src/engine/upkeep.ts'
import { parseTimelineKey } from '../../src/format/keys.ts'
import { formatHead, type Head } from '../../src/model/head.ts'
import { openStore } from '../../src/store/open.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const ITEM = { kind: 'record', resource: 'r', id: 'a' } as const

async function generations(url: string): Promise<number[]> {
  const found: number[] = []
  for await (const { key } of (await openStore(url)).list('timeline/')) found.push(parseTimelineKey(key) ?? 0)
  return found
}

test('whoever captures lets old generations go beside it, and upkeep the rest: every head and moment stays', async () => {
  const store = `memory:upkeep-${randomUUID()}`
  const database = new ModelDatabase()
  const tidemark = await Tidemark.capture({ store, source: database, ack: 'store' })
  const log = await TimelineLog.open(await openStore(store))
  const heads: Head[] = []
  const moments: [string, number][] = []
  for (let n = 0; n < 8; n++) {
    await database.write(ITEM, recordImage({ n }))
    await tidemark.flush()
    const [last] = (await tidemark.status()).streams
    moments.push([last?.lastUlid ?? '', n])
    heads.push(await tidemark.head())
    // Others go on, and say nothing.
    for (let other = 0; other < 75; other++) await log.commit(() => ({}))
  }
  await tidemark.close()
  const kept = await generations(store)
  expect(kept.length).toBeLessThan(560)
  expect(kept[0]).toBeGreaterThan(200)

  const report = await upkeepOf(store)
  expect(report.forgotten).toBeGreaterThan(0)
  expect(report.deleted).toBe(report.forgotten)
  expect(await upkeepOf(store)).toEqual({ forgotten: 0, deleted: 0, refused: [], keeping: { versions: 'none' } })

  const reader = await Tidemark.open({ store })
  for (const head of heads) expect((await reader.verify({ head: formatHead(head) })).damage).toEqual([])
  for (const [moment, n] of moments) expect(await reader.at(moment).get('r', 'a')).toEqual({ n })
  await reader.close()
  const { timeline } = await TimelineLog.open(await openStore(store))
  expect((await generations(store))[0]).toBe((timeline.forgotten?.at(-1)?.last ?? 0) + 1)
})
