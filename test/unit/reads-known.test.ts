import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { View } from '../../src/engine/view.ts'
import type { Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { openReader, openRig } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { CountingStore } from '../support/stores.ts'

test('a moment that is final is read with one look at the timeline, and asks nobody', async () => {
  const home = mkdtempSync(join(tmpdir(), 'known-'))
  const store = new CountingStore(new MemoryStore())
  const database = new ModelDatabase()
  const writer = await openRig({ store, database, directory: join(home, 'journals'), clock: systemClock })
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  await database.write(item, recordImage({ n: 1 }))
  await writer.session.complete(null)
  const [stream] = (await writer.timeline.refresh()).streams
  for (let n = 2; n < 40; n++) {
    await database.write(item, recordImage({ n }))
    await writer.session.complete(null)
  }
  let asked = 0
  const { archive } = await openReader(store, systemClock, undefined, async () => {
    asked++
    return { unheard: [], undecided: [] }
  })
  store.reset()
  const view = new View(archive, stream?.lastUlid ?? '')
  expect(await view.get('r', 'a')).toEqual({ n: 1 })
  expect(asked).toBe(0)
  expect(store.calls).toMatchObject({ list: 1, head: 0, put: 0, delete: 0 })
  store.reset()
  expect(await view.get('r', 'a')).toEqual({ n: 1 })
  // Its segment is small, and was read as a whole.
  expect(store.calls).toMatchObject({ list: 0, head: 0, get: 0 })
  await writer.session.close()
  for (const one of [writer.archive, archive]) one.close()
  rmSync(home, { recursive: true })
})

test('latest takes one look at the timeline where nobody is left to be asked, and two where somebody is', async () => {
  const home = mkdtempSync(join(tmpdir(), 'known-'))
  const store = new CountingStore(new MemoryStore())
  const database = new ModelDatabase()
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  const written = async (n: number): ReturnType<typeof openRig> => {
    const rig = await openRig({ store, database, directory: join(home, 'journals'), clock: systemClock })
    await database.write(item, recordImage({ n }))
    return rig
  }
  const first = await written(1)
  await first.session.close()
  store.reset()
  const reader = await Tidemark.open({ store: { url: 'test://known', objects: store } })
  expect(store.log).toEqual(['get tidemark.json'])
  expect(await reader.at('latest').get('r', 'a')).toEqual({ n: 1 })
  expect(store.calls).toMatchObject({ list: 1, head: 1, put: 0, delete: 0 })
  // What is written after it was opened, by a process that still runs.
  const second = await written(2)
  store.reset()
  expect(await reader.at('latest').get('r', 'a')).toEqual({ n: 2 })
  expect(store.calls.list).toBeGreaterThan(1)
  await reader.close()
  await second.session.close()
  for (const { archive } of [first, second]) archive.close()
  rmSync(home, { recursive: true })
})

test('what was changed last is read without a node of the catalogue, at that moment and no other', async () => {
  const home = mkdtempSync(join(tmpdir(), 'known-'))
  const store = new CountingStore(new MemoryStore())
  const database = new ModelDatabase()
  const writer = await openRig({ store, database, directory: join(home, 'journals'), clock: systemClock })
  const item = (id: string): Item => ({ kind: 'record', resource: 'r', id })
  const stamps: string[] = []
  for (let n = 0; n < 120; n++) {
    // One early, one all the time, one that is gone in the end.
    if (n === 3) await database.write(item('early'), recordImage({ n }))
    if (n % 10 === 9) await database.write(item('gone'), n > 110 ? null : recordImage({ n }))
    await database.write(item('hot'), recordImage({ n }))
    await writer.session.complete(null)
    stamps.push((await writer.timeline.refresh()).streams[0]?.lastUlid ?? '')
  }
  await writer.session.close()
  expect((await writer.timeline.refresh()).segments.nodes.length).toBeGreaterThan(1)
  const asked = async (moment: string, id: string): Promise<readonly [unknown, number]> => {
    const { archive } = await openReader(store, systemClock)
    store.reset()
    const found = await new View(archive, moment).get('r', id)
    archive.close()
    return [found, store.log.filter((call) => call.startsWith('get node/')).length]
  }
  expect(await asked('latest', 'hot')).toEqual([{ n: 119 }, 0])
  expect(await asked('latest', 'gone')).toEqual([null, 0])
  const nodes = writer.timeline.timeline.segments.nodes.length
  expect(await asked('latest', 'early')).toEqual([{ n: 3 }, nodes])
  for (const n of [118, 80, 40, 9, 2]) {
    const [found, read] = await asked(stamps[n] ?? '', 'hot')
    expect(found).toEqual({ n })
    expect(read > 0).toBe(n < 100)
  }
  writer.archive.close()
  rmSync(home, { recursive: true })
})
