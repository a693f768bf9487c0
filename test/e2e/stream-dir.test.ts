import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createStream, listStreams, takeStreams } from '../../src/capture/stream-dir.ts'
import { isAlive, readLock } from '../../src/capture/stream-lock.ts'

const STREAMS = ['01KAJ0QZX3N5V7E8T9RYBWDCFG', '01KAJ0QZX3N5V7E8T9RYBWDCFH', '01KAJ0QZX3N5V7E8T9RYBWDCFJ']
const [A = '', B = '', C = ''] = STREAMS
let directory = ''
let processes: ChildProcess[] = []

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'tidemark-streams-')), 'journal')
  processes = []
})
afterEach(async () => {
  for (const child of processes) child.kill('SIGKILL')
  await rm(join(directory, '..'), { recursive: true, force: true })
})

/** Starts a process that takes streams, or creates one, and stays; says which it got. */
async function holder(create = ''): Promise<{ child: ChildProcess; streams: string[] }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/lock-holder.ts'), directory, create], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  processes.push(child)
  const [line] = await once(child.stdout, 'data')
  return { child, streams: JSON.parse(String(line)) }
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

test('the stream of a live process is left alone, and taken over when it was killed', async () => {
  const { child } = await holder(A)
  expect(await takeStreams(directory)).toEqual([])
  expect((await listStreams(directory)).map(({ stream, isLive, owner }) => [stream, isLive, owner?.pid])).toEqual([
    [A, true, child.pid],
  ])
  await kill(child)
  expect((await listStreams(directory))[0]?.isLive).toBe(false)
  const [taken] = await takeStreams(directory)
  expect(taken?.stream).toBe(A)
  expect(taken?.path).toBe(join(directory, A))
  // Now it is this process's.
  expect((await holder()).streams).toEqual([])
})

test('of many processes that start at once each dead stream goes to exactly one', async () => {
  const dead = await Promise.all([holder(A), holder(B), holder(C)])
  for (const { child } of dead) await kill(child)
  const starters = await Promise.all(Array.from({ length: 6 }, () => holder()))
  expect(starters.flatMap(({ streams }) => streams).sort()).toEqual(STREAMS)
})

test('takeovers in one process never give a stream to two, however they interleave', async () => {
  const first = await createStream(directory, A)
  await first.release()
  for (let round = 0; round < 30; round++) {
    const taken = (await Promise.all(Array.from({ length: 8 }, () => takeStreams(directory)))).flat()
    expect(taken.length).toBe(1)
    await taken[0]?.release()
  }
  // One lock file is left, whatever the number of owners.
  expect((await readdir(join(directory, A))).length).toBe(1)
})

test('a released stream is taken over', async () => {
  const stream = await createStream(directory, A)
  expect(await takeStreams(directory)).toEqual([])
  await stream.release()
  expect((await takeStreams(directory)).map(({ path }) => path)).toEqual([join(directory, A)])
})

test("directories are the owner's alone, and a missing journal directory has no streams", async () => {
  expect(await listStreams(directory)).toEqual([])
  expect(await takeStreams(directory)).toEqual([])
  const { path } = await createStream(directory, A)
  for (const made of [directory, path]) expect((await stat(made)).mode & 0o777).toBe(0o700)
  for (const name of await readdir(path)) expect((await stat(join(path, name))).mode & 0o777).toBe(0o600)
})

test('an owner is dead when the pid is another process now, the machine was started again, or it has let go', async () => {
  await createStream(directory, A)
  const owner = (await readLock(join(directory, A)))?.owner
  if (owner == null) throw new Error('no owner')
  expect(owner).toMatchObject({ pid: process.pid, host: hostname(), released: false })
  expect(isAlive(owner)).toBe(true)
  expect(isAlive({ ...owner, released: true })).toBe(false)
  expect(isAlive({ ...owner, pid: 2 ** 22 + 1 })).toBe(false)
  if (owner.started !== null) expect(isAlive({ ...owner, started: '1' })).toBe(false)
  if (owner.boot !== null) expect(isAlive({ ...owner, boot: 'another' })).toBe(false)
  // Of another machine nothing is known: its stream is left alone.
  expect(isAlive({ ...owner, host: 'elsewhere', boot: 'another', pid: 1 })).toBe(true)
})
