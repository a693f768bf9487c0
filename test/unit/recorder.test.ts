import { expect, test } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import type { Write } from '../../src/capture/source.ts'
import { decodeFrame } from '../../src/format/journal-frame.ts'
import { type Context, fingerprint, type Image, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { recordImage } from '../support/model-database.ts'
import { recorderRig } from '../support/recorder-rig.ts'

const a: Item = { kind: 'record', resource: 'r', id: 'a' }
const b: Item = { kind: 'record', resource: 'r', id: 'b' }
const by = (actor: string): Context => ({ ...NO_CONTEXT, actor })

/** A database in memory, and a put into it. */
class Held {
  readonly images = new Map<string, Image | null>()
  readonly read = async ({ id }: Item): Promise<Image | null> => this.images.get(id) ?? null

  put(item: Item, image: Image | null, over: Partial<Write<void>> = {}): Write<void> {
    return {
      read: async () => [await this.read(item)],
      perform: async () => void this.images.set(item.id, image),
      after: () => [image],
      meant: () => fingerprint(image),
      ...over,
    }
  }
}

async function intentsIn(log: MemoryLog): Promise<number> {
  let count = 0
  for await (const frame of log.read(1)) count += decodeFrame(frame).intents().length
  return count
}

test('the intent is durable before the write, unless the database is gone with the process anyway', async () => {
  for (const volatile of [false, true]) {
    const held = new Held()
    const rig = await recorderRig({ read: held.read, volatile })
    let atWrite = 0
    const perform = async (): Promise<void> => {
      atWrite = await intentsIn(rig.log)
    }
    await rig.recorder.capture([a], NO_CONTEXT, held.put(a, recordImage({ n: 1 }), { perform }))
    await rig.journal.flush()
    expect(atWrite).toBe(volatile ? 0 : 1)
    expect(await intentsIn(rig.log)).toBe(volatile ? 0 : 1)
  }
})

/** A disk that has taken everything, and brings it to the medium when it is told to. */
class SlowLog extends MemoryLog {
  #sync = Promise.withResolvers<void>()
  #isSynced = true

  override async append(frame: Uint8Array, written?: () => void): Promise<void> {
    await super.append(frame)
    written?.()
    if (!this.#isSynced) await this.#sync.promise
  }

  stop(): void {
    this.#isSynced = false
    this.#sync = Promise.withResolvers()
  }

  sync(): void {
    this.#isSynced = true
    this.#sync.resolve()
  }
}

test.each([
  { what: 'files that nobody syncs', isUnsynced: true },
  { what: 'a database that outlives the machine', isUnsynced: false },
])('one wait for the disk a write where the machine takes both with it, else two: $what', async ({ isUnsynced }) => {
  const held = new Held()
  const log = new SlowLog()
  const rig = await recorderRig({ read: held.read, isUnsynced, log })
  const stages: string[] = []
  const perform = async (): Promise<void> => {
    stages.push(`performed with ${await intentsIn(log)} intents`)
  }
  log.stop()
  const image = recordImage({ n: 1 })
  const captured = rig.recorder.capture([a], NO_CONTEXT, held.put(a, image, { perform }))
  void captured.then(() => stages.push('acknowledged'))
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  await turns()
  const beforeSync = isUnsynced ? ['performed with 1 intents'] : []
  expect(stages).toEqual(beforeSync)
  // The event waits for the sync of its intent, and then for its own.
  expect(await rig.events()).toEqual([])
  log.sync()
  await captured
  expect(stages).toEqual(['performed with 1 intents', 'acknowledged'])
  expect(await rig.events()).toEqual(['- a {"n":1}'])
})

test('writes that go on beside one another share the sync of their intents, whoever syncs the database', async () => {
  const held = new Held()
  const log = new SlowLog()
  const rig = await recorderRig({ read: held.read, isUnsynced: true, log })
  const performed: string[] = []
  const put = (item: Item): Promise<void> => {
    const perform = async (): Promise<void> => void performed.push(item.id)
    return rig.recorder.capture([item], NO_CONTEXT, held.put(item, recordImage({ n: 1 }), { perform }))
  }
  log.stop()
  const both = Promise.all([put(a), put(b)])
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(performed).toEqual([])
  log.sync()
  await both
  expect(performed).toEqual(['a', 'b'])
})

test('a capture inside that of another database is its own, although the items have the same names', async () => {
  const [outer, inner] = [new Held(), new Held()]
  const [first, second] = [await recorderRig({ read: outer.read }), await recorderRig({ read: inner.read })]
  const copy = (): Promise<void> => second.recorder.capture([a], NO_CONTEXT, inner.put(a, recordImage({ n: 2 })))
  await first.recorder.capture([a], NO_CONTEXT, outer.put(a, recordImage({ n: 1 }), { perform: copy }))
  expect([await first.events(), await second.events()]).toEqual([['- a {"n":1}'], ['- a {"n":2}']])
  const twice = first.recorder.capture([b], NO_CONTEXT, {
    ...outer.put(b, recordImage({ n: 3 })),
    perform: () => first.recorder.capture([a], NO_CONTEXT, outer.put(a, recordImage({ n: 4 }))),
  })
  await expect(twice).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
})

test('a write that was done is recorded, although its source throws or tells too few images', async () => {
  const bad: Write<void>['after'][] = [
    () => {
      throw new Error('a bug of the adapter')
    },
    () => [],
  ]
  for (const after of bad) {
    const held = new Held()
    const { recorder, events } = await recorderRig({ read: held.read })
    const put = held.put(a, recordImage({ n: 1 }), { after })
    await expect(recorder.capture([a], by('ann'), put)).rejects.toThrow()
    expect(recorder.undecided).toEqual([a])
    await recorder.settleOpen()
    expect(await events()).toEqual(['ann a {"n":1}'])
    expect(recorder.undecided).toEqual([])
  }
})

test('a source that tells too few images before a write is refused before anything is touched', async () => {
  const held = new Held()
  const { recorder, events } = await recorderRig({ read: held.read })
  const write = recorder.capture([a], NO_CONTEXT, held.put(a, recordImage({}), { read: async () => [] }))
  await expect(write).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  expect([held.images.size, await events()]).toEqual([0, []])
})

test('a capture that would wait for itself, or for who waits for it, is refused', async () => {
  const held = new Held()
  const { recorder, events } = await recorderRig({ read: held.read })
  const inside = (item: Item): Promise<void> =>
    recorder.capture([item], NO_CONTEXT, held.put(item, recordImage({ n: 2 })))
  const around = (item: Item, inner: Item): Promise<void> =>
    recorder.capture([item], NO_CONTEXT, held.put(item, recordImage({ n: 1 }), { perform: () => inside(inner) }))
  await expect(around(a, a)).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  await expect(around(b, a)).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  await around(a, b)
  const twice = recorder.capture([a, a], NO_CONTEXT, { ...held.put(a, null), read: async () => [null, null] })
  await expect(twice).rejects.toMatchObject({ code: 'SOURCE_UNSUPPORTED' })
  expect(await events()).toEqual(['- b {"n":2}', '- a {"n":1}'])
})

/** What a process that was killed at a write left: its journal. The next one settles it. */
async function killedAt(held: Held, write: Write<void>): Promise<string[]> {
  const first = await recorderRig({ read: held.read })
  void first.recorder.capture([a], by('mallory'), { ...write, perform: () => new Promise<void>(() => {}) })
  await expect.poll(() => first.journal.openIntents).toBe(1)
  const next = await recorderRig({ read: held.read, log: first.log })
  await next.recorder.settleOpen()
  return next.events()
}

test('a refused insert of a process that was killed is no event', async () => {
  const held = new Held()
  held.images.set('a', recordImage({ name: 'Ann' }))
  const insert = held.put(a, recordImage({ name: 'Eve' }), { isAssumed: true, read: async () => [null] })
  expect(await killedAt(held, insert)).toEqual([])
})

test('a write of a process that was killed is an event of its writer where the database holds what it meant', async () => {
  const held = new Held()
  const write = held.put(a, recordImage({ n: 2 }))
  held.images.set('a', recordImage({ n: 1 }))
  expect(await killedAt(held, write)).toEqual([])
  const left = held.put(a, recordImage({ n: 2 }), { read: async () => [recordImage({ n: 1 })] })
  held.images.set('a', recordImage({ n: 2 }))
  expect(await killedAt(held, left)).toEqual(['mallory a {"n":2}'])
  held.images.set('a', recordImage({ n: 3 }))
  expect(await killedAt(held, left)).toEqual(['- a {"n":3}'])
})

test('a write that fails without an answer and lands later is found, in the name of its writer', async () => {
  const held = new Held()
  const looks: (() => void)[] = []
  const clock: Clock = {
    now: () => Date.now(),
    sleep: () => Promise.resolve(),
    idle: () => new Promise<void>((resolve) => looks.push(resolve)),
  }
  const { recorder, events } = await recorderRig({ read: held.read, clock })
  const lost = async (): Promise<void> => {
    throw new Error('the answer was lost')
  }
  await expect(
    recorder.capture([a], by('ann'), held.put(a, recordImage({ n: 1 }), { perform: lost })),
  ).rejects.toThrow()
  looks.shift()?.()
  await expect.poll(() => looks.length).toBe(1)
  expect(await events()).toEqual([])
  held.images.set('a', recordImage({ n: 1 }))
  looks.shift()?.()
  await expect.poll(events).toEqual(['ann a {"n":1}'])
  expect(looks).toEqual([])
})

test('a write that was refused for certain is neither read again nor followed', async () => {
  const held = new Held()
  let reads = 0
  const read = async (item: Item): Promise<Image | null> => {
    reads++
    return held.read(item)
  }
  const idle = (): Promise<void> => expect.unreachable()
  const clock: Clock = { now: () => Date.now(), sleep: () => Promise.resolve(), idle }
  const { recorder, journal, events } = await recorderRig({ read, clock })
  const perform = async (): Promise<void> => {
    throw new Error('refused')
  }
  const insert = held.put(a, recordImage({ n: 1 }), { perform, refused: () => true })
  await expect(recorder.capture([a], by('ann'), insert)).rejects.toThrow('refused')
  await journal.flush()
  expect([reads, journal.openIntents, await events()]).toEqual([0, 0, []])
})
