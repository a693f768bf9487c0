import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { type CommitPace, MeasuredPace, type Pace } from '../../src/capture/commit-pace.ts'
import { GroupCommit } from '../../src/capture/group-commit.ts'

const NOTHING: Pace = { overlaps: false, splits: false }

/** Says what it is told to. */
class SetPace implements CommitPace {
  next: Pace = NOTHING

  begun(): void {
    // It measures nothing.
  }

  ended(): Pace {
    return this.next
  }
}

/** Group commits over a disk that takes each batch when it is told to, and what happened, in order. */
class Rig {
  readonly pace = new SetPace()
  readonly happened: string[] = []
  readonly commits = new GroupCommit(() => this.#write(), this.pace)
  #disk = Promise.withResolvers<void>()
  #writes = 0

  async #write(): Promise<void> {
    this.happened.push(`write ${++this.#writes}`)
    await this.#disk.promise
  }

  /** Entries of one caller each. */
  callers(...names: readonly string[]): readonly Promise<void>[] {
    return names.map((name) => {
      const waits = this.commits.gather().awaited()
      this.commits.commit()
      return waits.then(() => {
        this.happened.push(name)
      })
    })
  }

  /** The disk has taken, or refused, what is being written. */
  async disk(error?: Error): Promise<void> {
    const { resolve, reject } = this.#disk
    this.#disk = Promise.withResolvers()
    if (error === undefined) resolve()
    else reject(error)
    await turns()
  }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await setImmediate()
}

test('what gathered during a commit is begun before its callers go on where that overlaps, and after it otherwise', async () => {
  for (const overlaps of [true, false]) {
    const rig = new Rig()
    rig.pace.next = { overlaps, splits: false }
    rig.callers('a', 'b')
    await turns()
    rig.callers('c')
    await rig.disk()
    await rig.disk()
    const first = overlaps ? ['write 1', 'write 2', 'a', 'b'] : ['write 1', 'a', 'b', 'write 2']
    expect(rig.happened).toEqual([...first, 'c'])
  }
})

test('half of the callers go on first where that splits, and what they bring is committed while the others go on', async () => {
  const rig = new Rig()
  rig.pace.next = { overlaps: false, splits: true }
  const [first] = rig.callers('a', 'b', 'c', 'd')
  const again = first?.then(() => rig.callers('a again')[0])
  await turns()
  await rig.disk()
  expect(rig.happened).toEqual(['write 1', 'a', 'c', 'write 2', 'b', 'd'])
  await rig.disk()
  await again
  expect(rig.happened.at(-1)).toBe('a again')
})

test('who would go on later learns of a failure, too', async () => {
  const rig = new Rig()
  const waiting = Promise.allSettled(rig.callers('a', 'b'))
  await turns()
  await rig.disk(new TidemarkError('JOURNAL_CORRUPT', 'It cannot be written.', { hint: 'Look at it.' }))
  expect((await waiting).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})

/** The pace after one commit, milliseconds: what was computed before it, how long it took, and how long nothing was to do meanwhile. */
function paceOf(worked: number, took: number, idle: number): Pace {
  let [now, idled] = [0, 0]
  const pace = new MeasuredPace({ now: () => now, idle: () => idled })
  pace.begun()
  pace.ended()
  now += worked
  pace.begun()
  now += took
  idled += idle
  return pace.ended()
}

test('commits overlap where the event loop has something to do meanwhile, and split where it would have', () => {
  expect(paceOf(2, 0.3, 0)).toEqual({ overlaps: true, splits: false })
  expect(paceOf(2, 0.3, 0.3)).toEqual({ overlaps: false, splits: true })
  // On a slow disk one large commit is better than two small ones in turn.
  expect(paceOf(2, 8, 8)).toEqual(NOTHING)
  expect(paceOf(2, 8, 6.5)).toEqual(NOTHING)
})

test('nobody is left waiting where a commit overlaps and splits', async () => {
  const rig = new Rig()
  rig.pace.next = { overlaps: true, splits: true }
  rig.callers('a', 'b')
  await turns()
  rig.callers('c', 'd')
  await rig.disk()
  await rig.disk()
  expect(rig.happened.toSorted()).toEqual(['a', 'b', 'c', 'd', 'write 1', 'write 2'])
})

test('who goes on later and has an entry is committed, although nothing else is', async () => {
  const rig = new Rig()
  rig.pace.next = { overlaps: false, splits: true }
  const [, second] = rig.callers('a', 'b')
  const again = second?.then(() => rig.callers('b again')[0])
  await turns()
  await rig.disk()
  expect(rig.happened).toEqual(['write 1', 'a', 'b', 'write 2'])
  await rig.disk()
  await again
})
