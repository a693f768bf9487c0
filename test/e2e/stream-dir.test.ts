import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createStream, listStreams, takeStreams } from '../../src/capture/stream-dir.ts'
import { livenessOf, readLock } from '../../src/capture/stream-lock.ts'

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
  expect((await listStreams(directory)).map(({ stream, liveness, owner }) => [stream, liveness, owner?.pid])).toEqual([
    [A, 'alive', child.pid],
  ])
  await kill(child)
  expect((await listStreams(directory))[0]?.liveness).toBe('dead')
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
  // One lock file is left, whatever the number of owners, and no door.
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

test('who listens is alive, and who does not is dead where no other machine can have the directory', async () => {
  const { child } = await holder(A)
  const path = join(directory, A)
  const owner = (await readLock(path))?.owner
  if (owner == null) throw new Error('no owner')
  expect(owner).toMatchObject({ pid: child.pid, door: expect.stringMatching(/^door\./), released: false })
  // Another container, or another machine, says nothing against who answers.
  for (const other of [
    {},
    { pid: 1 },
    { started: '1' },
    { boot: 'another' },
    { namespace: 'another', pid: 2 ** 22 + 1 },
  ]) {
    expect(await livenessOf({ ...owner, ...other }, path)).toBe('alive')
  }
  expect(await livenessOf({ ...owner, released: true }, path)).toBe('dead')
  child.kill('SIGSTOP')
  expect(await livenessOf(owner, path)).toBe('alive')
  await kill(child)
  // The number may be that of another process meanwhile, in whichever container.
  for (const other of [{}, { pid: process.pid, started: null }, { boot: 'another' }, { namespace: 'another' }]) {
    expect(await livenessOf({ ...owner, ...other }, path)).toBe('dead')
  }
})

test.runIf(process.platform === 'linux')(
  'where other machines may have the directory, only an answer tells',
  async () => {
    const { child } = await holder(A)
    const owner = (await readLock(join(directory, A)))?.owner
    if (owner == null) throw new Error('no owner')
    const shared = '/proc/sys' // not a local file system, as far as can be told
    expect(await livenessOf({ ...owner, boot: 'another' }, shared)).toBe('unknown')
    expect(await livenessOf({ ...owner, namespace: 'another' }, shared)).toBe('unknown')
    expect(await livenessOf(owner, shared)).toBe('unknown')
    await kill(child)
    expect(await livenessOf({ ...owner, namespace: 'another' }, shared)).toBe('unknown')
    // Its own kernel knows that it is gone.
    expect(await livenessOf(owner, shared)).toBe('dead')
  },
)

test('without doors the number of a process tells, where it was given under this boot and in this container', async () => {
  const { child } = await holder(A)
  const path = join(directory, A)
  const found = (await readLock(path))?.owner
  if (found == null || found.boot === null) return
  const owner = { ...found, door: null }
  expect(await livenessOf(owner, path)).toBe('alive')
  expect(await livenessOf({ ...owner, pid: 2 ** 22 + 1 }, path)).toBe('dead')
  expect(await livenessOf({ ...owner, started: '1' }, path)).toBe('dead')
  expect(await livenessOf({ ...owner, namespace: 'another', pid: 2 ** 22 + 1 }, path)).toBe('unknown')
  expect(await livenessOf({ ...owner, boot: 'another' }, path)).toBe('dead')
  await kill(child)
  expect(await livenessOf(owner, path)).toBe('dead')
})

test('the stream of a thread that was terminated is not that of a live process', async () => {
  const script = new URL('../support/lock-holder.ts', import.meta.url)
  const worker = new Worker(script, { argv: [directory, A], stdout: true })
  await once(worker.stdout, 'data')
  expect((await listStreams(directory)).map(({ liveness, owner }) => [liveness, owner?.pid])).toEqual([
    ['alive', process.pid],
  ])
  await worker.terminate()
  expect((await takeStreams(directory)).map(({ stream }) => stream)).toEqual([A])
})

const mayUnshare = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0

test.runIf(mayUnshare)('two containers of one name and one number of a process leave each other alone', async () => {
  const inContainer = async (create: string): Promise<{ child: ChildProcess; streams: string[] }> => {
    const script = join(import.meta.dirname, '../support/lock-holder.ts')
    const command = ['--pid', '--fork', '--kill-child', '--mount-proc', process.execPath, script, directory, create]
    const child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'inherit'] })
    processes.push(child)
    const [line] = await once(child.stdout, 'data')
    return { child, streams: JSON.parse(String(line)) }
  }
  const first = await inContainer(A)
  expect((await inContainer('')).streams).toEqual([])
  expect((await holder()).streams).toEqual([])
  await kill(first.child)
  await expect.poll(async () => (await listStreams(directory))[0]?.liveness).toBe('dead')
  expect((await inContainer('')).streams).toEqual([A])
})
