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
  expect([first.isShared(), first.learn()]).toEqual([false, MIN_ULID])
  const second = StreamPeers.open(b, at(3))
  expect([first.isShared(), second.isShared()]).toEqual([true, true])
  expect([first.learn(), second.learn()]).toEqual([at(3), at(5)])
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
  expect(first.isShared()).toBe(true) // killed, for all that is known
  endClock(b)
  expect(first.learn()).toBe(at(8))
  // The timeline may call it open for a while: nothing comes of it all the same.
  expect([first.isShared(), first.hears(b)]).toEqual([false, true])
  const again = StreamPeers.open(b, at(2)) // taken by another process: what was told stays told
  expect([first.isShared(), first.learn(), again.learn()]).toEqual([true, at(8), at(1)])
  for (const one of [first, again]) one.close()
})

test('a process with another journal directory is heard where the timeline names it and it can be reached', () => {
  const [a, b] = [streamIn(join(home, 'here')), streamIn(join(home, 'there'))]
  const first = StreamPeers.open(a, at(1))
  const second = StreamPeers.open(b, at(2), [a, join(home, 'on another machine')])
  expect([first.isShared(), first.learn(), first.hears(b)]).toEqual([true, at(2), true])
  expect([second.learn(), second.hears(a)]).toEqual([at(1), true])
  expect(readFileSync(join(a, 'peers'), 'utf8')).toBe(`${b}\n`)
  for (const one of [first, second]) one.close()
})
