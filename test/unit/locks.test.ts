import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ItemLocks } from '../../src/capture/locks.ts'
import type { Item } from '../../src/model/event.ts'

function record(id: string): Item {
  return { kind: 'record', resource: 'r', id }
}

it('nobody comes in between one who lets go of a lock and the next who waits for it', async () => {
  const locks = new ItemLocks()
  const order: string[] = []
  const enter = async (name: string): Promise<() => void> => {
    const release = await locks.acquire([record('a')])
    order.push(name)
    return release
  }
  const first = await enter('first')
  const [second, third] = [enter('second'), enter('third')]
  await setImmediate()
  expect(order).toEqual(['first'])
  first()
  // In the same turn, before the second one has learned that it is his turn.
  const fourth = enter('fourth')
  await setImmediate()
  expect(order).toEqual(['first', 'second'])
  ;(await second)()
  ;(await third)()
  ;(await fourth)()
  expect(order).toEqual(['first', 'second', 'third', 'fourth'])
})

it('a lock is free at once when nobody waits for it any more, and not while somebody holds it', async () => {
  const locks = new ItemLocks()
  for (let round = 0; round < 3; round++) {
    const first = locks.acquire([record('a')])
    const second = locks.acquire([record('a')])
    const other = locks.acquire([record('b')])
    expect([first, second, other].map((one) => one instanceof Promise)).toEqual([false, true, false])
    for (const one of [first, second, other]) (await one)()
  }
})

it('two that want the same items in other orders do not wait for each other', async () => {
  const locks = new ItemLocks()
  const done: string[] = []
  const both = async (name: string, items: readonly Item[]): Promise<void> => {
    const release = await locks.acquire(items)
    await setImmediate()
    done.push(name)
    release()
  }
  const single = async (name: string, id: string): Promise<void> => both(name, [record(id)])
  await Promise.all([
    both('ab', [record('a'), record('b')]),
    both('ba', [record('b'), record('a')]),
    single('b', 'b'),
    both('ab again', [record('a'), record('b'), record('c')]),
    single('a', 'a'),
  ])
  expect(done.toSorted()).toEqual(['a', 'ab', 'ab again', 'b', 'ba'])
  const free = locks.acquire([record('b')])
  expect(free).not.toBeInstanceOf(Promise)
})
