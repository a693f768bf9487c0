import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { image, show, trickyId } from '../support/arbitrary.ts'
import { keyOf, ModelDatabase } from '../support/model-database.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'engine-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Step {
  item: Item
  image: Image | null
}

const item: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ kind: fc.constant<'record'>('record'), resource: fc.constantFrom('users', 'log', 'logs'), id: trickyId }),
  fc.constantFrom<Item>(
    { kind: 'schema', resource: 'users', id: '' },
    { kind: 'object', resource: 'users', id: 'sequence=id/value' },
    { kind: 'schema', resource: '', id: '' },
  ),
)
const step: fc.Arbitrary<Step> = fc.record({ item, image: fc.option(image, { freq: 4 }) })

/** The oracle: every event applied in the order of its stamps, and nothing of the engine's own. */
type Model = Map<string, string>

async function stateOf(tidemark: Tidemark, moment: Parameters<Tidemark['at']>[0]): Promise<Model> {
  const state: Model = new Map()
  for await (const one of tidemark.at(moment).states()) state.set(keyOf(one), show(one.image))
  return state
}

test('at every event, before every event and at the end, the state is what the model says', {
  timeout: 300_000,
}, async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 8 }),
      fc.array(fc.array(step, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
      fc.constantFrom('journal', 'memory', 'store'),
      fc.integer({ min: 1, max: 6 }),
      async (initial, rounds, ack, sealEvents) => {
        const here = join(directory, String(run++))
        const database = new ModelDatabase()
        for (const { item, image } of initial) await database.write(item, image)
        const open = (): Promise<Tidemark> =>
          Tidemark.capture({
            store: `file:${here}/store`,
            source: database,
            journal: `${here}/journal`,
            ack: ack as 'journal',
            seal: { events: sealEvents, ageMs: 5 },
          })
        let tidemark = await open()
        const base: Model = new Map()
        for (const { item, image } of database.items_.values()) base.set(keyOf(item), show(image))
        await tidemark.baseline()
        for (const [index, round] of rounds.entries()) {
          await Promise.all(round.map(({ item, image }) => database.write(item, image)))
          if (index % 2 === 1) await tidemark.snapshot()
          if (index === 1) {
            await tidemark.close()
            tidemark = await open()
          }
        }
        const touched = new Map(rounds.flat().map(({ item }) => [keyOf(item), item]))
        const events = []
        for (const { kind, resource, id } of touched.values()) {
          let previous: string | null = base.get(keyOf({ kind, resource, id })) ?? '-'
          for await (const event of tidemark.history(resource, id, kind)) {
            expect(show(event.before)).toBe(previous) // an unbroken chain
            previous = show(event.after)
            events.push(event)
          }
        }
        events.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
        for (const stream of new Set(events.map(({ stamp }) => stamp.stream))) {
          const sequences = events.filter(({ stamp }) => stamp.stream === stream).map(({ stamp }) => stamp.sequence)
          expect(sequences).toEqual(sequences.map((_, i) => i + 1)) // gapless, and in the order of the stamps
        }
        const model: Model = new Map(base)
        for (const event of events) {
          if (event.stamp.sequence % 3 === 0)
            expect(await stateOf(tidemark, { before: event.stamp.ulid })).toEqual(model)
          if (event.after === null) model.delete(keyOf(event))
          else model.set(keyOf(event), show(event.after))
          expect(await stateOf(tidemark, event.stamp.ulid)).toEqual(model)
        }
        const live: Model = new Map()
        for (const { item, image } of database.items_.values()) live.set(keyOf(item), show(image))
        expect(model).toEqual(live)
        expect(await stateOf(tidemark, 'latest')).toEqual(live)
        expect(await stateOf(tidemark, new Date())).toEqual(live)
        const report = await tidemark.verify()
        expect(report.damage).toEqual([])
        await tidemark.close()
        const reader = await Tidemark.open({ store: `file:${here}/store` })
        expect(await stateOf(reader, 'latest')).toEqual(live)
        expect(await stateOf(reader, Date.now())).toEqual(live)
        await reader.close()
      },
    ),
    { numRuns: Number(process.env.TIDEMARK_RUNS ?? 10) },
  )
})
