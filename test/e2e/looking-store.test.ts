import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { openStore } from '../../src/store/open.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { type Application, fingerprint, jsonLines, type Run, talkTo } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let directory = ''
let open: Tidemark[] = []
let application: Application | null = null
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'looking-store-'))
})
afterEach(async () => {
  // One of them has lost its stream.
  await Promise.allSettled(open.map((one) => one.close()))
  open = []
  application?.process.kill('SIGKILL')
  application = null
  rmSync(directory, { recursive: true, force: true })
})

const stored = (): Promise<Map<string, string>> => fingerprint(join(directory, 'store'))
const item = { kind: 'record', resource: 'users', id: 'a' } as const
const pause = (): Promise<void> => systemClock.sleep(3)

async function capture(database: ModelDatabase, clock = systemClock): Promise<Tidemark> {
  const store = `file:${directory}/store`
  const found = await Tidemark.capture({ store, source: database, journal: `${directory}/journal` }, clock)
  open.push(found)
  return found
}

async function read(clock = systemClock): Promise<Tidemark> {
  const found = await Tidemark.open({ store: `file:${directory}/store` }, clock)
  open.push(found)
  return found
}

async function ended(one: Tidemark): Promise<void> {
  await one.close()
  open = open.filter((other) => other !== one)
}

/** Asks everything that can be asked, of the present. Returns the moment. */
async function askAll(one: Tidemark, expected: unknown): Promise<number> {
  await pause()
  const now = Date.now()
  expect((await one.reachable(now)).verdict).toBe('yes')
  expect(await one.at(now).get('users', 'a')).toEqual(expected)
  expect(await one.at('latest').get('users', 'a')).toEqual(expected)
  expect((await one.reachable('latest')).verdict).toBe('yes')
  for await (const event of one.history('users', 'a')) expect(event.id).toBe('a')
  await one.status()
  await one.restoreAt(now, { target: `file:${directory}/dry`, dryRun: true })
  return now
}

describe('asking commits nothing', () => {
  test('of an application that is idle, by itself and by a reader', async () => {
    const database = new ModelDatabase()
    const writer = await capture(database)
    await database.write(item, recordImage({ n: 1 }))
    await writer.flush()
    const reader = await read()
    const before = await stored()
    for (const one of [writer, reader, writer, reader]) await askAll(one, { n: 1 })
    expect(await stored()).toEqual(before)
  })

  test('but what waits in the journal is brought in, and a moment that was answered stays as it was', async () => {
    const database = new ModelDatabase()
    const writer = await capture(database)
    await database.write(item, recordImage({ n: 1 }))
    await writer.flush()
    const reader = await read()
    const moments: number[] = []
    for (let n = 1; n < 5; n++) {
      moments.push(await askAll(reader, { n }))
      // Written at once: it is stamped behind what was answered.
      await database.write(item, recordImage({ n: n + 1 }))
    }
    const before = await stored()
    await askAll(reader, { n: 5 })
    expect((await stored()).size).toBeGreaterThan(before.size)
    for (const [i, moment] of moments.entries()) expect(await reader.at(moment).get('users', 'a')).toEqual({ n: i + 1 })
  })

  test('where nobody writes any more, and whoever writes next comes behind it', async () => {
    const database = new ModelDatabase()
    const writer = await capture(database)
    await database.write(item, recordImage({ n: 1 }))
    await ended(writer)
    const reader = await read()
    const before = await stored()
    const moment = await askAll(reader, { n: 1 })
    expect(await stored()).toEqual(before)
    await capture(database)
    await database.write(item, recordImage({ n: 2 }))
    expect((await reader.reachable(moment)).verdict).toBe('yes')
    expect(await reader.at(moment).get('users', 'a')).toEqual({ n: 1 })
    await askAll(reader, { n: 2 })
  })

  test('and neither is a writer before it whose clock is behind, or was set back after a crash', async () => {
    const database = new ModelDatabase()
    await ended(await capture(database))
    const reader = await read()
    const moment = await askAll(reader, null)
    const behind = { ...systemClock, now: () => systemClock.now() - 3_600_000 }
    await capture(database, behind)
    await database.write(item, recordImage({ n: 1 }))
    expect(await reader.at(moment).get('users', 'a')).toBe(null)
    expect(await reader.at('latest').get('users', 'a')).toEqual({ n: 1 })
  })

  test('where the journals are not here, it is noted in the store that nobody writes at that time', async () => {
    const database = new ModelDatabase()
    await ended(await capture(database))
    const [reader, before] = [await read(), await stored()]
    renameSync(join(directory, 'journal'), join(directory, 'elsewhere'))
    await askAll(reader, null)
    expect((await stored()).size).toBeGreaterThan(before.size)
  })

  test('a reader whose clock is ahead is told of no time that a later writer can still fill', async () => {
    const database = new ModelDatabase()
    const writer = await capture(database)
    await database.write(item, recordImage({ n: 1 }))
    await ended(writer)
    const reader = await read({ ...systemClock, now: () => systemClock.now() + 5000 })
    const moment = Date.now() + 4000
    const first = await reader.reachable(moment)
    await capture(database)
    await database.write(item, recordImage({ n: 2 }))
    if (first.verdict === 'yes') expect(await reader.at(moment).get('users', 'a')).toEqual({ n: 1 })
  })

  test('another process that has taken a stream over is not answered for by the one that had it', async () => {
    const database = new ModelDatabase()
    const writer = await capture(database)
    await database.write(item, recordImage({ n: 1 }))
    await writer.flush()
    const [stream] = (await writer.status()).streams
    const timeline = await TimelineLog.open(await openStore(`file:${directory}/store`))
    await timeline.commit(({ streams }) => ({
      putStreams: streams.filter(({ id }) => id === stream?.id).map((one) => ({ ...one, owner: '0123456789abcdef' })),
    }))
    await pause()
    await expect(writer.reachable(Date.now())).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  })
})

describe('asking the command line of an application that was killed', { timeout: 60_000 }, () => {
  const run = (...args: string[]): Promise<Run> =>
    tidemark(directory, args, { TIDEMARK_STORE: `file:${directory}/store` })
  const start = async (): Promise<Application> => {
    const script = join(import.meta.dirname, '../support/cli-application.ts')
    return talkTo(spawn(process.execPath, [script, directory], { stdio: ['pipe', 'pipe', 'inherit'] }))
  }
  const kill = async (): Promise<void> => {
    const ended = new Promise((resolve) => application?.process.once('exit', resolve))
    application?.process.kill('SIGKILL')
    await ended
  }
  const questions = (now: number): string[][] => [
    ['show', 'users/u1', '--at', String(now)],
    ['show', 'users/u1'],
    ['log', 'users/u1'],
    ['status', '--at', String(now)],
    ['status', '--at', 'latest'],
    ['restore', '--to', String(now), '--target', './dry', '--dry-run'],
  ]

  test('takes its stream over only where it has left something', async () => {
    application = await start()
    await application.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
    // What a question brings in, and after that nothing waits.
    expect((await run('show', 'users/u1')).code).toBe(0)
    await kill()
    const [before, now] = [await stored(), Date.now()]
    for (const question of questions(now))
      expect([question[0], (await run(...question)).code]).toEqual([question[0], 0])
    expect(await stored()).toEqual(before)

    application = await start()
    await application.send({ put: { id: 'u1', name: 'Bob', n: 2 } })
    await kill()
    const shown = async (...at: string[]): Promise<unknown> =>
      jsonLines((await run('show', 'users/u1', '--json', ...at)).out)[0]?.name
    expect([await shown('--at', String(now)), await shown()]).toEqual(['Ann', 'Bob'])
    expect((await stored()).size).toBeGreaterThan(before.size)
  })

  test('whose journal files are gone from a directory that is still there: that is a loss, and latest no older state', async () => {
    application = await start()
    await application.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
    expect((await run('show', 'users/u1')).code).toBe(0)
    await application.send({ put: { id: 'u1', name: 'Bob', n: 2 } })
    await kill()
    for (const name of readdirSync(join(directory, 'journal'), { recursive: true, encoding: 'utf8' }))
      if (name.endsWith('.journal')) rmSync(join(directory, 'journal', name))
    const reader = await read()
    expect((await reader.status()).streams).toMatchObject([
      { condition: { state: 'died', why: expect.stringContaining('files of its journal are missing') } },
    ])
    await expect(reader.at('latest').get('users', 'u1')).rejects.toMatchObject({ code: 'HISTORY_GAP' })
    expect(await reader.reachable('latest')).toMatchObject({ verdict: 'except' })
  })

  test('whose journal is gone: latest is no older state, whoever is asked and however', async () => {
    application = await start()
    await application.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
    expect((await run('show', 'users/u1')).code).toBe(0)
    await pause()
    await application.send({ put: { id: 'u1', name: 'Bob', n: 2 } })
    await kill()
    rmSync(join(directory, 'journal'), { recursive: true })
    const latest: string[][] = [
      ['show', 'users/u1'],
      ['status', '--at', 'latest'],
      ['restore', '--to', 'latest', '--target', './out'],
      ['restore', '--to', 'latest', '--target', './out', '--dry-run'],
    ]
    for (const question of latest) expect([question, (await run(...question)).code]).toEqual([question, 3])
    const reader = await read()
    await expect(reader.at('latest').get('users', 'u1')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
    const [{ error }] = jsonLines((await run('show', 'users/u1', '--json')).err) as [{ error: { hint: string } }]
    const known = /show --at (\S+)$/.exec(error.hint)?.[1] ?? ''
    expect((await run('show', 'users/u1', '--at', known)).out).toContain('Ann')
    for (const question of [['--fail-on-gap'], ['--fail-on-gap', '--at', known]])
      expect([question, (await run('status', ...question)).code]).toEqual([question, 10])
  })
})
