import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3db } from 's3db.js/lite'
import { afterAll, describe, expect, it } from 'vitest'
import type { Event, ItemState } from '../../src/index.ts'
import { keyOfItem } from '../../src/s3db/keys.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { KINDS_OF_CLIENT, newDatabase, type StoredBytes, settled } from '../support/s3db.ts'
import { describeBytes, logStorage, type StorageLog } from '../support/storage-log.ts'
import { storedState } from '../support/stored-state.ts'
import { Workload } from '../support/workload.ts'

const SEEDS = (process.env.TIDEMARK_SEEDS ?? '1,2').split(',').map(Number)
const directory = mkdtempSync(join(tmpdir(), 'moments-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Reads one object past s3db.js. */
function reader(db: S3db, connectionString: string): (key: string) => Promise<StoredBytes | null> {
  if (connectionString.startsWith('memory://')) {
    const { storage } = db.client as unknown as { storage: { objects: Map<string, StoredBytes> } }
    return async (key) => storage.objects.get(`app/${key}`) ?? null
  }
  const root = connectionString.slice('file://'.length)
  return async (key) => {
    try {
      const { metadata, contentType } = JSON.parse(await readFile(join(root, `${key}.meta.json`), 'utf8'))
      return { body: await readFile(join(root, key)), metadata, contentType }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }
}

/** The state of the storage at a moment, by the log alone: of each object as many states in as it has events by then. */
function modelAt(log: StorageLog, baseline: Map<string, string>, counts: Map<string, number>): Map<string, string> {
  const model = new Map(baseline)
  for (const [key, count] of counts) {
    const state = log.get(key)?.[count - 1]
    if (state === undefined) throw new Error(`${key} has more events than states`)
    if (state === null) model.delete(key)
    else model.set(key, state)
  }
  return new Map([...model].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function stateAt(states: AsyncIterable<ItemState>): Promise<Map<string, string>> {
  const images = new Map<string, ItemState['image']>()
  for await (const { kind, resource, id, image } of states) images.set(JSON.stringify([kind, resource, id]), image)
  return new Map([...storedState(images)].map(([key, stored]) => [key, describeBytes(stored)]))
}

function instantOf({ stamp: { ulid } }: Event): string {
  return `${ulid.slice(0, 13)}${ulid.charAt(13) >= 'G' ? 1 : 0}`
}

describe.each(KINDS_OF_CLIENT)('a random concurrent workload on %s://', (kind) => {
  it.each(SEEDS)('is, at every event, exactly what the storage held then, seed %i', async (seed) => {
    const { db, connectionString } = await newDatabase(kind)
    const workload = new Workload(db, { seed, ids: 6 })
    await workload.prepare()
    await workload.run(40) // what the baseline finds
    await settled()
    const read = reader(db, connectionString)
    const baseline = new Map<string, string>()
    for (const name of workload.model.keys()) {
      for (const id of workload.model.get(name)?.keys() ?? []) {
        const key = `resource=${name}/data/id=${id}`
        const stored = await read(key)
        if (stored !== null) baseline.set(key, describeBytes(stored))
      }
    }
    const log = logStorage(db, kind === 'memory' ? 'app/' : '', read)
    for (const [key, state] of baseline) log.set(key, [state])
    const store = `file:${join(directory, `${kind}-${seed}`)}`
    const options = { store, journal: join(directory, `journal-${kind}-${seed}`), seal: { events: 17, ageMs: 20 } }
    const tidemark = new TidemarkPlugin(options)
    await db.usePlugin(tidemark)
    for (let round = 0; round < 3; round++) {
      await workload.run(round === 0 ? 30 : 70) // in the first round the baseline is being read meanwhile
      if (round === 0) await tidemark.baseline()
      else await tidemark.snapshot()
    }
    await settled()
    expect(await workload.read()).toEqual(workload.expected())

    const events: Event[] = []
    for (const key of [...log.keys()].filter((key) => /^resource=.*\/data\/id=/.test(key))) {
      const [, resource = '', id = ''] = /^resource=(.*?)\/data\/id=(.*)$/.exec(key) ?? []
      for await (const event of tidemark.history(resource, id)) events.push(event)
    }
    events.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
    const logged = [...log].filter(([key]) => key !== 's3db.json')
    const states = logged.reduce((sum, [key, list]) => sum + list.length - (baseline.has(key) ? 1 : 0), 0)
    expect(events.length).toBe(states) // one event for each change of the storage, none missing, none invented
    expect(events.length).toBeGreaterThan(120)

    const counts = new Map([...baseline.keys()].map((key) => [key, 1]))
    let compared = 0
    for (const [index, event] of events.entries()) {
      const key = keyOfItem(event)
      counts.set(key, (counts.get(key) ?? 0) + 1)
      // What was written together is one moment: the first 64 bits of a ULID.
      const next = events[index + 1]
      if (next !== undefined && instantOf(next) === instantOf(event)) continue
      const whole = await stateAt(tidemark.at(event.stamp.ulid).states()).catch((error: { code?: string }) => {
        if (compared === 0 && error.code === 'MOMENT_UNREACHABLE') return null // before the end of the baseline
        throw error
      })
      if (whole === null) continue
      compared++
      const model = modelAt(log, baseline, counts)
      expect(whole).toEqual(model)
      const one = await tidemark.at(event.stamp.ulid).get(event.resource, event.id)
      expect(one === null).toBe(!model.has(key))
      if (event.after !== null) expect(one).toEqual(JSON.parse(Buffer.from(event.after.json).toString('utf8')))
    }
    expect(compared).toBeGreaterThan(70)
    expect((await tidemark.verify()).damage).toEqual([])
    await db.disconnect()
  })
})
