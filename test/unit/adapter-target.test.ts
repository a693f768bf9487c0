import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { compareItems, type Difference, type ItemState, makeImage, type Target, Tidemark } from '../../src/index.ts'
import { keyOf, ModelDatabase } from '../support/model-database.ts'

/** A database that holds records only while it has their schema, as tables do. */
class Tables implements Target {
  readonly name = 'tables://test'
  readonly takes = 'differences'
  readonly held = new Map<string, ItemState>()
  /** Of `scan`, where the adapter is to be a bad one. */
  given: ((states: ItemState[]) => readonly unknown[]) | null = null

  async *scan(): AsyncGenerator<readonly ItemState[]> {
    const states = [...this.held.values()].sort(compareItems)
    yield (this.given?.(states) ?? states) as ItemState[]
  }

  async write(differences: readonly Difference[]): Promise<void> {
    for (const { before: _, after, ...item } of differences) {
      const { kind, resource } = item
      const hasSchema = this.held.has(keyOf({ kind: 'schema', resource, id: '' }))
      const hasRecords = [...this.held.values()].some((one) => one.kind === 'record' && one.resource === resource)
      if (kind === 'record' && !hasSchema) throw new Error(`no such table: ${resource}`)
      if (kind === 'schema' && after === null && hasRecords) throw new Error(`table ${resource} is not empty`)
      if (after === null) this.held.delete(keyOf(item))
      else this.held.set(keyOf(item), { ...item, image: after })
    }
  }

  async finish(): Promise<void> {}
  async close(): Promise<void> {}
}

/** A history in which one table goes and another comes; resolves with the moment between. */
async function twoTables(name: string): Promise<{ tidemark: Tidemark; between: number }> {
  const source = new ModelDatabase()
  const tidemark = await Tidemark.capture({ store: `memory:${name}`, source, ack: 'memory' })
  const set = async (resource: string, value: object | null): Promise<void> => {
    const image = value === null ? null : makeImage(value)
    if (image !== null) await source.write({ kind: 'schema', resource, id: '' }, image)
    for (let i = 0; i < 600; i++) await source.write({ kind: 'record', resource, id: `r${i}` }, image)
    if (image === null) await source.write({ kind: 'schema', resource, id: '' }, image)
  }
  await set('old', { n: 1 })
  const between = Date.now()
  await systemClock.sleep(5)
  await set('old', null)
  await set('new', { n: 2 })
  await tidemark.flush()
  return { tidemark, between }
}

test('schemas come before their records, and go after them', async () => {
  const { tidemark, between } = await twoTables('schema-order')
  const target = new Tables()
  for (const moment of [between, 'latest', between] as const) {
    await tidemark.restoreAt(moment, { target, overwrite: true })
    const resource = moment === 'latest' ? 'new' : 'old'
    expect(new Set([...target.held.values()].map((one) => one.resource))).toEqual(new Set([resource]))
    expect(target.held.size).toBe(601)
    const again = await tidemark.restoreAt(moment, { target, dryRun: true })
    expect(again.preview).toMatchObject({ added: 0, changed: 0, removed: 0, unchanged: 601 })
  }
  await tidemark.close()
})

test('what a target gives out of order, twice, or as no state is refused by name, and nothing is written', async () => {
  const { tidemark, between } = await twoTables('bad-scan')
  const bad: readonly ((states: ItemState[]) => readonly unknown[])[] = [
    (states) => states.reverse(),
    (states) => [...states, states.at(-1)],
    (states) => states.map((state) => ({ ...state, image: null })),
    (states) => states.map((state) => ({ ...state, resource: null })),
    (states) => [...states, null],
  ]
  for (const given of bad) {
    const target = new Tables()
    await tidemark.restoreAt(between, { target })
    const before = [...target.held.keys()].filter((key) => key.includes('old'))
    target.given = given
    const restoring = tidemark.restoreAt(between, { target, overwrite: true })
    await expect(restoring).rejects.toMatchObject({ code: 'TARGET_INVALID' })
    expect([...target.held.keys()]).toEqual(before)
  }
  await tidemark.close()
})

test('a target that does not say what it is is refused before anything is read', async () => {
  const { tidemark } = await twoTables('no-target')
  const target = new Tables()
  for (const bad of [
    { ...target, takes: 'all' },
    Object.assign(new Tables(), { name: undefined }),
    Object.assign(new Tables(), { takes: 'all' }),
  ]) {
    const restoring = tidemark.restoreAt('latest', { target: bad as Tables })
    await expect(restoring).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  }
  await tidemark.close()
})
