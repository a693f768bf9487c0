import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { endClock, StreamPeers } from '../../src/capture/stream-peers.ts'
import { firstUlidAt, MIN_ULID, type Ulid } from '../../src/model/ulid.ts'

const home = mkdtempSync(join(tmpdir(), 'peers-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let directories = 0
const at = (second: number): Ulid => firstUlidAt(1_760_000_000_000 + second * 1000)

/** A journal directory, and the directory of a new stream in it. */
function streamIn(journals: string): string {
  const directory = join(journals, at(++directories))
  mkdirSync(directory, { recursive: true })
  return directory
}

test('two processes hear each other from the first moment on, whichever began first', () => {
  const journals = join(home, 'beside')
  const [a, b] = [streamIn(journals), streamIn(journals)]
  const first = StreamPeers.open(a, at(5))
  expect([first.learn(), first.isShared()]).toEqual([MIN_ULID, false])
  const second = StreamPeers.open(b, at(3))
  expect([first.learn(), second.learn()]).toEqual([at(3), at(5)])
  expect([first.isShared(), second.isShared()]).toEqual([true, true])
  second.tell(at(9))
  expect(first.learn()).toBe(at(9))
  second.tell(at(7)) // nobody goes back
  expect(first.learn()).toBe(at(9))
  for (const one of [first, second]) one.close()
})

test('of two that begin at the same time, each is known to the other', () => {
  const journals = join(home, 'same time')
  const [a, b] = [streamIn(journals), streamIn(journals)]
  // Both directories are there before either looks around.
  const first = StreamPeers.open(a, at(1))
  const second = StreamPeers.open(b, at(2))
  expect([first.learn(), second.learn()]).toEqual([at(2), at(1)])
  for (const one of [first, second]) one.close()
})

test('a stream that was closed says its last stamp, and is nobody to be waited for', () => {
  const journals = join(home, 'closed')
  const [a, b] = [streamIn(journals), streamIn(journals)]
  const first = StreamPeers.open(a, at(1))
  const second = StreamPeers.open(b, at(2))
  second.tell(at(8))
  second.close()
  expect([first.learn(), first.isShared()]).toEqual([at(8), true]) // killed, for all that is known
  endClock(b)
  expect(first.learn()).toBe(at(8))
  // The timeline may call it open for a while: nothing comes of it all the same.
  expect([first.isShared(), first.hears(b)]).toEqual([false, true])
  const again = StreamPeers.open(b, at(2)) // taken by another process: what was told stays told
  expect([first.learn(), first.isShared(), again.learn()]).toEqual([at(8), true, at(1)])
  for (const one of [first, again]) one.close()
})

test('a process with another journal directory is heard where the timeline names it and it can be reached', () => {
  const [a, b] = [streamIn(join(home, 'here')), streamIn(join(home, 'there'))]
  const first = StreamPeers.open(a, at(1))
  const second = StreamPeers.open(b, at(2), [a, join(home, 'on another machine')])
  expect([first.learn(), first.isShared(), first.hears(b)]).toEqual([at(2), true, true])
  expect([second.learn(), second.hears(a)]).toEqual([at(1), true])
  expect(readFileSync(join(a, 'peers'), 'utf8')).toBe(`${b}\n`)
  for (const one of [first, second]) one.close()
})

test('a process that is alone tells ahead of its stamps, beside others what it has stamped', () => {
  const journals = join(home, 'ahead')
  const [a, b] = [streamIn(journals), streamIn(journals)]
  const later = (ms: number): Ulid => firstUlidAt(1_760_000_000_000 + ms)
  const first = StreamPeers.open(a, later(0))
  const toldBy = (): string => readFileSync(join(a, 'clock'), 'utf8').slice(0, 26)
  first.tell(later(1))
  expect(toldBy()).toBe(later(21))
  first.tell(later(20))
  expect(toldBy()).toBe(later(21))
  first.tell(later(22))
  expect(toldBy()).toBe(later(42))
  const second = StreamPeers.open(b, later(0))
  expect(second.learn()).toBe(later(42)) // after every stamp that the first has given
  expect(first.learn()).toBe(later(0))
  first.tell(later(30))
  expect(toldBy()).toBe(later(42))
  first.tell(later(43))
  expect(toldBy()).toBe(later(43))
  for (const one of [first, second]) one.close()
})
