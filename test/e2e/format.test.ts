import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { filesOf } from '../support/second-reader/bytes.ts'
import { nameOf } from '../support/second-reader/events.ts'
import { boundOf } from '../support/second-reader/moments.ts'
import { asTheyAre } from '../support/second-reader/record-keys.ts'
import { readSnapshot, type State, stateAt } from '../support/second-reader/state.ts'
import { readTimeline } from '../support/second-reader/timeline.ts'

/** What there is, by item. */
function stateOf(states: readonly State[]): string[] {
  return states.map(
    ({ image, ...item }) => `${nameOf(item)} ${image.json} ${Buffer.from(image.raw ?? []).toString('hex')}`,
  )
}

let home = ''
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-format-'))
})
afterAll(() => rm(home, { recursive: true, force: true }))

test('a reader made from FORMAT.md finds the state that restoreAt gives', async () => {
  const database = new ModelDatabase()
  const store = `${home}/store`
  const write = (i: number): Promise<void> => {
    const gone = i % 6 === 5
    const item = {
      kind: (['record', 'object', 'schema'] as const)[i % 3] ?? 'record',
      resource: i % 4 ? 'users/ü' : '',
      id: `${i % 11}`,
    }
    const value = { i, text: `"},"_tidemark":{"json":${i}}}`, _tidemark: 'mine' }
    return database.write(
      item.kind === 'schema' ? { ...item, id: '' } : item,
      gone ? null : i % 7 ? recordImage(value) : recordImage({}),
    )
  }
  for (let i = 0; i < 20; i++) await write(i)
  const options = { store: `file:${store}`, source: database, journal: `${home}/journal`, seal: { events: 7 } }
  let tidemark = await Tidemark.capture(options)
  await tidemark.baseline()
  const moments: number[] = []
  for (let round = 0; round < 6; round++) {
    await Promise.all(Array.from({ length: 25 }, (_, i) => write(round * 31 + i)))
    await new Promise((resolve) => setTimeout(resolve, 3))
    moments.push(Date.now())
    await new Promise((resolve) => setTimeout(resolve, 3))
    if (round === 2) await tidemark.snapshot()
    if (round === 3) {
      await tidemark.close() // and a second stream
      tidemark = await Tidemark.capture({ ...options, journal: `${home}/another` })
    }
    await tidemark.flush()
  }
  const seen = new Set<string>()
  for (const [index, moment] of moments.entries()) {
    const directory = `${home}/restored-${index}`
    await tidemark.restoreAt(moment, { target: `file:${directory}` })
    const expected = stateOf(readSnapshot(filesOf(directory), '', null))
    const files = filesOf(store)
    const { timeline } = readTimeline(files)
    const found = stateOf((await stateAt({ files, timeline, open: asTheyAre }, boundOf(moment))) ?? [])
    expect(found.toSorted()).toEqual(expected.toSorted())
    expect(found.length).toBeGreaterThan(10)
    seen.add(JSON.stringify(found))
  }
  expect(seen.size).toBe(moments.length)
  await tidemark.close()
})
