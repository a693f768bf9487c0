import { expect, test } from 'vitest'
import { writeHistory } from '../../bench/lib/history-store.ts'
import { RESOURCE, steadyChunks, steadyId, steadyStates } from '../../bench/lib/steady-history.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { CountingStore } from '../support/stores.ts'

const BEGIN = Date.UTC(2025, 0, 1)
const DAY = 86_400_000
const EVERY = DAY / 24
const EVENTS = 5
const RECORDS = 400
/** Requests, at most. */
const [FIRST, NEXT] = [8, 2]

/** Versions of records at so many segments, with no code of what is tested: the n-th event is about record (n * 7919) % RECORDS. */
function versionsAt(segments: number): readonly number[] {
  const versions = Array.from({ length: RECORDS }, () => 0)
  for (let n = 0; n < segments * EVENTS; n++) {
    const number = (n * 7919) % RECORDS
    versions[number] = (versions[number] ?? 0) + 1
  }
  return versions
}

/** A store of a segment an hour, with snapshots half a day before each of these moments. */
async function storeOf(segments: number, moments: readonly number[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  const steady = { segments, events: EVENTS, records: RECORDS, beginMs: BEGIN, everyMs: EVERY }
  await writeHistory(store, firstUlidAt(BEGIN), steadyStates(RECORDS), steadyChunks(steady))
  const tidemark = await open(store)
  for (const at of moments) await tidemark.snapshot({ at: new Date(at - DAY / 2).toISOString() })
  await tidemark.close()
  return store
}

function open(objects: MemoryStore | CountingStore): Promise<Tidemark> {
  return Tidemark.open({ store: { url: 'test://store', objects } }, systemClock)
}

/** Requests of the first record in a process that knows nothing, opening the store included, and the most of the next ones. */
async function requestsAt(
  objects: MemoryStore,
  moment: number | 'latest',
  expected: readonly number[],
): Promise<readonly number[]> {
  const store = new CountingStore(objects)
  const requests: number[] = []
  const tidemark = await open(store)
  const view = tidemark.at(moment)
  for (let number = 0; number < RECORDS; number += 57) {
    expect((await view.get(RESOURCE, steadyId(number)))?.version).toBe(expected[number])
    requests.push(store.log.length)
    store.reset()
  }
  await tidemark.close()
  return [requests[0] ?? 0, Math.max(...requests.slice(1))]
}

test('a record costs few requests, whatever the age of the moment and of the store, before merges and after', async () => {
  for (const segments of [100, 1000]) {
    const ages = [0.2, 0.5, 0.9].map((part) => Math.floor(segments * part))
    const moments = ages.map((age) => BEGIN + age * EVERY)
    const store = await storeOf(segments, [...moments, BEGIN + segments * EVERY])
    for (const how of ['sealed', 'merged']) {
      const seen = [await requestsAt(store, 'latest', versionsAt(segments))]
      for (const [i, moment] of moments.entries()) seen.push(await requestsAt(store, moment, versionsAt(ages[i] ?? 0)))
      for (const [first, next] of seen) {
        expect(first, `${segments} segments, ${how}`).toBeLessThanOrEqual(FIRST)
        expect(next, `${segments} segments, ${how}`).toBeLessThanOrEqual(NEXT)
      }
      if (how === 'sealed') {
        const tidemark = await open(store)
        expect((await tidemark.compact({ graceMs: 0 })).merges.length).toBeGreaterThan(0)
        await tidemark.close()
      }
    }
  }
})
