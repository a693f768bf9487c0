import assert from 'node:assert/strict'
import { makeImage } from '../format/make-image.ts'
import { compareItems } from '../model/order.ts'
import { scanned } from '../restore/scanned.ts'
import type { ConflictRule, Difference, ItemState, Selection, Target } from '../restore/target.ts'
import { type Checks, type ContractCase, casesOf } from './contract-case.ts'
import { ODD_IDS } from './odd-ids.ts'
import { differencesBetween, lineOf } from './replica.ts'

/** A fresh, empty place to restore into. */
export interface TargetUnderTest {
  /** Opens it; each time the same place, one after the other. Each target is closed by the suite. */
  open(): Promise<Target>
  /**
   * Two states of a database that fits this place, in the order of `compareItems`: with records of `users` and of `orders`, of which
   * some are in both, some differ, and some are in one. Default: documents in JSON, without schemas.
   */
  states?(): Promise<readonly [readonly ItemState[], readonly ItemState[]]>
  dispose(): Promise<void>
}

/** What not every target can do. */
export interface TargetTraits {
  /** Record ids of the documents that are its states by default. */
  readonly ids?: readonly string[]
  /** Whether it sees what somebody else has written since it was compared, and treats it as it is told. Default: false. */
  readonly seesConflicts?: boolean
}

type States = readonly ItemState[]

interface OpenTarget {
  readonly place: TargetUnderTest
  readonly first: States
  readonly second: States
  readonly seesConflicts: boolean
}

/** What every `Target` must do; `make` gives a new place for each case, which is disposed of behind it. */
export function targetContract(
  make: () => Promise<TargetUnderTest>,
  { ids = ODD_IDS, seesConflicts = false }: TargetTraits = {},
): readonly ContractCase[] {
  return casesOf(checks, async (run) => {
    const place = await make()
    try {
      const [first, second] = (await place.states?.()) ?? documents(ids)
      await run({ place, first, second, seesConflicts })
    } finally {
      await place.dispose()
    }
  })
}

const checks: Checks<OpenTarget> = {
  'holds nothing at first, also when it was looked at': async ({ place }) => {
    for (const _ of [1, 2]) assert.deepEqual(lines(await held(place)), [])
  },

  'holds what it was given, byte for byte, when it is opened again': async ({ place, first }) => {
    await become(place, [], first)
    assert.deepEqual(lines(await held(place)), lines(first))
  },

  'becomes another state, and the one before again': async ({ place, first, second }) => {
    await become(place, [], first)
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      await become(place, from, to)
      assert.deepEqual(lines(await held(place)), lines(to))
    }
  },

  'is not changed by what it holds already': async ({ place, first, second }) => {
    await become(place, [], first)
    await become(place, first, second)
    await become(place, first, second)
    assert.deepEqual(lines(await held(place)), lines(second))
  },

  'takes the removal of what it does not hold': async ({ place, first }) => {
    await become(place, [], first)
    const [kept] = records(first)
    assert.ok(kept !== undefined)
    const target = await place.open()
    try {
      if (target.takes === 'states') return
      const { image: _, ...item } = kept
      await target.write([{ ...item, id: 'nobody', before: null, after: null }])
      await target.finish({})
    } finally {
      await target.close()
    }
    assert.deepEqual(lines(await held(place)), lines(first))
  },

  'gives only what is selected': async ({ place, first }) => {
    await become(place, [], first)
    const of = async (selection: Selection): Promise<readonly string[]> => lines(records(await held(place, selection)))
    const want = (keep: (state: ItemState) => boolean): readonly string[] => lines(records(first).filter(keep))
    const users = records(first).filter(({ resource }) => resource === 'users')
    const [one, two] = [users[0], users.at(-1)]
    assert.ok(one !== undefined && two !== undefined)
    assert.deepEqual(await of({ resources: ['users'] }), lines(users))
    assert.deepEqual(
      await of({ resources: ['users', 'orders'] }),
      want(({ resource }) => resource === 'users' || resource === 'orders'),
    )
    assert.deepEqual(
      await of({ resources: ['users'], ids: [two.id, one.id, 'nobody'] }),
      want(({ resource, id }) => resource === 'users' && (id === one.id || id === two.id)),
    )
    assert.deepEqual(await of({ resources: ['nothing'] }), [])
  },

  'keeps what it holds until it is told to change it, or where a restore ends before its end': async (subject) => {
    const { place, first, second } = subject
    await become(place, [], first)
    const target = await place.open()
    try {
      if (target.takes === 'states') await target.write(differencesBetween([], second))
    } finally {
      await target.close()
    }
    assert.deepEqual(lines(await held(place)), lines(first))
  },

  'keeps what somebody else has written since it was compared, or overwrites it, as it is told': async (subject) => {
    const { place, first, second, seesConflicts } = subject
    if (!seesConflicts) return
    const [changed] = differencesBetween(records(first), records(second)).filter(isUpdate)
    assert.ok(changed !== undefined)
    const stale: Difference = { ...changed, before: changed.after, after: changed.before }
    await become(place, [], first)
    // What it holds is what is to be written: nobody is in the way.
    assert.deepEqual(await told(place, { ...stale, after: changed.before }, 'keep'), [])
    const back: Difference = { ...changed, before: null }
    assert.deepEqual(await told(place, back, 'keep'), [changed.id])
    assert.deepEqual(lines(await held(place)), lines(first))
    assert.deepEqual(await told(place, back, 'overwrite'), [changed.id])
    const after = (await held(place)).find((state) => compareItems(state, changed) === 0)
    assert.ok(after !== undefined && changed.after !== null)
    assert.equal(lineOf(after), lineOf({ ...after, image: changed.after }))
  },
}

/** Brings the place from one state to another, as a restore does. */
async function become(place: TargetUnderTest, from: States, to: States): Promise<void> {
  const target = await place.open()
  try {
    const differences = differencesBetween(target.takes === 'states' ? [] : from, to)
    const isLate = ({ kind, after }: Difference): boolean => kind === 'schema' && after === null
    const now = differences.filter((one) => !isLate(one))
    for (let i = 0; i < now.length; i += 7) await target.write(now.slice(i, i + 7))
    const late = differences.filter(isLate)
    if (late.length > 0) await target.write(late)
    await target.finish({})
  } finally {
    await target.close()
  }
}

async function held(place: TargetUnderTest, selection: Selection = {}): Promise<ItemState[]> {
  const target = await place.open()
  const states: ItemState[] = []
  try {
    for await (const batch of scanned(target, selection)) states.push(...batch)
  } finally {
    await target.close()
  }
  return states
}

/** Writes one difference; the ids of what it said that others have written. */
async function told(
  place: TargetUnderTest,
  difference: Difference,
  onConflict: ConflictRule['onConflict'],
): Promise<string[]> {
  const ids: string[] = []
  const rule: ConflictRule = { onConflict, tell: ({ id }) => void ids.push(id) }
  const target = await place.open()
  try {
    await target.write([difference], rule)
    await target.finish({}, rule)
  } finally {
    await target.close()
  }
  return ids
}

/** What a place that was emptied may still have is the schema of the database itself. */
function lines(states: States): readonly string[] {
  return states.filter(({ kind, resource }) => kind !== 'schema' || resource !== '').map(lineOf)
}

function records(states: States): States {
  return states.filter(({ kind }) => kind === 'record')
}

function isUpdate({ before, after }: Difference): boolean {
  return before !== null && after !== null
}

function documents(ids: readonly string[]): readonly [States, States] {
  const all = ['orders', 'users'].flatMap((resource) => ids.map((id) => ({ kind: 'record' as const, resource, id })))
  const state = (n: (i: number) => number, part: number): States =>
    all
      .map((item, i) => ({ ...item, image: makeImage({ name: `${item.id}\u{1f600}`, n: n(i) }), i }))
      .filter(({ i }) => i % 3 !== part)
      .map(({ i: _, ...one }) => one)
      .sort(compareItems)
  return [state((i) => i, 0), state((i) => (i % 2 === 0 ? i : i + 0.5), 1)]
}
