import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import {
  type Application,
  BIN,
  fingerprint,
  jsonLines,
  type Run,
  talkTo,
  tidemark as tidemarkProcess,
} from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { openDatabase } from '../support/s3db.ts'

interface Mark {
  readonly at: number
  /** Records by resource and id, as the test knows them. */
  readonly state: Record<string, Record<string, { name: string; n: number }>>
}

let directory = ''
let store = ''
const marks: Mark[] = []

const DOWN = 's3://bucket/prefix?endpoint=http://127.0.0.1:9&region=us-east-1'
const KEYS = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key' }

const run = (...args: string[]): Promise<Run> => tidemark(directory, args, { TIDEMARK_STORE: store, ...KEYS })
const iso = (at: number): string => new Date(at).toISOString()
const markAt = (i: number): Mark => marks[i] ?? { at: 0, state: {} }

async function pause(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 4))
  const at = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 4))
  return at
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-cli-'))
  store = `file:${directory}/store`
  const { db } = await openDatabase(`file://${directory}/app`)
  const plugin = new TidemarkPlugin({ store, journal: `${directory}/journal` })
  await db.usePlugin(plugin)
  const state: Mark['state'] = { users: {}, orders: {} }
  const mark = async (): Promise<void> => void marks.push({ at: await pause(), state: structuredClone(state) })
  const attributes = { name: 'string', n: 'number' }
  const resources = {
    users: await db.createResource({ name: 'users', attributes }),
    orders: await db.createResource({ name: 'orders', attributes }),
  }
  const insert = async (resource: 'users' | 'orders', id: string, name: string, n: number): Promise<void> => {
    await resources[resource].insert({ id, name, n })
    state[resource] = { ...state[resource], [id]: { name, n } }
  }
  for (let i = 0; i < 12; i++) await insert('users', `u${i}`, `name ${i}`, i)
  for (let i = 0; i < 5; i++) await insert('orders', `o:${i}`, `órden ${i}`, i)
  await mark()
  await plugin.as({ actor: 'anna', tx: 't-1', meta: { why: 'asked' } }, () =>
    resources.users.update('u1', { name: 'Änne\u001b[31m' }),
  )
  state.users = { ...state.users, u1: { name: 'Änne\u001b[31m', n: 1 } }
  await mark()
  await plugin.as({ actor: 'deploy' }, () => resources.users.delete('u1'))
  const { u1: _gone, ...left } = state.users ?? {}
  state.users = left
  await mark()
  await db.disconnect()
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** What a database says, read with s3db.js. */
async function stateOf(path: string): Promise<Mark['state']> {
  const { db } = await openDatabase(`file://${path}`)
  const state: Mark['state'] = {}
  for (const name of Object.keys(db.resources).sort()) {
    const resource = await db.getResource(name)
    const records: Record<string, { name: string; n: number }> = {}
    for (const id of await resource.listIds()) {
      const { name: text, n } = await resource.get(id)
      records[id] = { name: String(text), n: Number(n) }
    }
    state[name] = records
  }
  await db.disconnect()
  return state
}

test.each([
  ['log', 'users/u1', '--json'],
  ['show', 'users/u0', '--at', 'yesterday'],
  ['status', '--store', 'file:./none', '--json'],
  ['restore', '--to', 'latest', '--target', 'file:./of-a-process'],
  ['restor'],
  [],
])('a process of its own says, does and returns what this one does: %s', async (...args) => {
  const env = { TIDEMARK_STORE: store, ...KEYS }
  const path = join(directory, 'of-a-process')
  const left: unknown[] = []
  for (const how of [tidemarkProcess, tidemark]) {
    const { code, out, err } = await how(directory, args, env)
    const made = await readFile(join(path, 'users.jsonl.gz')).catch(() => null)
    left.push({ code, out, err, made: made === null ? null : gunzipSync(made).toString() })
    await rm(path, { recursive: true, force: true })
  }
  expect(left[1]).toEqual(left[0])
})

describe('reading', () => {
  test('status says what is there, what is reachable, and what to type next', async () => {
    const { code, out, err } = await run('status', '--json')
    expect([code, err]).toEqual([0, ''])
    const [status] = jsonLines(out)
    expect(status).toMatchObject({ store, database: `file://${directory}/app`, gaps: [], pending: null })
    expect(status).toMatchObject({ segments: { events: 21 }, snapshots: [{ records: 0 }], replay: { events: 21 } })
    const text = await run('status')
    expect(text.out).toMatch(/^database\s+file:\/\/.*app$/m)
    expect(text.out).toMatch(/^reachable\s+\S+Z to \S+Z$/m)
    expect(text.out).toMatch(/^segments\s+\d+, with 21 events in [\d.]+ KiB$/m)
    expect(text.out).toMatch(/^ {2}since the last, .+ ago: 21 events, which a restore of latest replays$/m)
    expect(text.out).toMatch(/closed/)
    expect(text.out).not.toContain('\u001b')
    const next = /tidemark (show .*)$/m.exec(text.out)?.[1]?.replace('<resource>/<id>', 'users/u0') ?? ''
    expect((await run(...next.split(' '))).code).toBe(0)
  })

  test('log tells every event of a record', async () => {
    const { code, out, err } = await run('log', 'users/u1', '--json')
    expect([code, err]).toEqual([0, ''])
    const events = jsonLines(out)
    const name = 'Änne\u001b[31m'
    expect(events).toMatchObject([
      { operation: 'insert', actor: null, before: null, after: { id: 'u1', name: 'name 1', n: 1 } },
      { operation: 'update', actor: 'anna', transaction: 't-1', metadata: { why: 'asked' }, after: { name, n: 1 } },
      { operation: 'delete', actor: 'deploy', before: { name, n: 1 }, after: null },
    ])
    expect(events[1]?.before).toEqual(events[0]?.after)
    const text = (await run('log', 'u1', '--resource', 'users')).out
    for (const event of events) expect(text).toContain(`${event.time}  ${event.ulid}  ${event.operation}`)
    expect(text).toContain('by anna  tx t-1  {"why":"asked"}')
    expect(text).toContain('    name: "name 1" -> "Änne\\u001b[31m"')
    expect(text).not.toContain('\u001b')
  })

  test('show gives a record at every kind of moment', async () => {
    const events = jsonLines((await run('log', 'users/u1', '--json')).out)
    const moments: [string, string][] = [
      [iso(markAt(0).at), 'name 1'],
      [String(markAt(0).at), 'name 1'],
      [String(events[0]?.ulid), 'name 1'],
      [`before:${events[1]?.ulid}`, 'name 1'],
      [String(events[1]?.ulid), 'Änne\u001b[31m'],
      [iso(markAt(1).at), 'Änne\u001b[31m'],
    ]
    for (const [moment, name] of moments) {
      const { code, out } = await run('show', 'users/u1', '--at', moment, '--json')
      expect([moment, code, jsonLines(out)]).toMatchObject([moment, 0, [{ id: 'u1', name, n: 1 }]])
    }
    expect(JSON.parse((await run('show', 'orders/o:3')).out)).toMatchObject({ id: 'o:3', name: 'órden 3' })
    expect((await run('show', 'users/u1')).code).toBe(3)
  })

  test('verify and snapshot', async () => {
    const made = await run('snapshot', '--json')
    expect([made.code, made.err]).toEqual([0, ''])
    expect(jsonLines(made.out)).toMatchObject([{ records: 16, isNew: true, carried: { members: 0 } }])
    expect((await run('snapshot')).out).toContain('nothing happened since: nothing was written')
    const past = markAt(0)
    const earlier = await run('snapshot', '--at', iso(past.at))
    expect(earlier.out).toMatch(/^carried over +0 parts of files, 0 B$/m)
    expect(earlier.out).toMatch(/^written +2 parts of files, /m)
    const records = Object.values(past.state).reduce((sum, held) => sum + Object.keys(held).length, 0)
    expect(earlier.out).toMatch(new RegExp(`^records +${records}$`, 'm'))
    expect((await run('snapshot', '--at', '')).code).toBe(2)
    const { code, out } = await run('verify', '--json')
    expect([code, jsonLines(out)]).toMatchObject([0, [{ damage: [], events: 21, snapshots: 3 }]])
    expect((await run('verify')).out).toMatch(/^damage\s+none$/m)
  })

  test('a reader that goes away is the end, and no failure', async () => {
    const pipe = `"${process.execPath}" "${BIN}" log users/u1 --json | head -c 10; echo; echo "\${PIPESTATUS[0]}"`
    const out = await new Promise<string>((resolve) =>
      execFile('bash', ['-c', pipe], { env: { ...process.env, TIDEMARK_STORE: store } }, (_e, text, err) =>
        resolve(text + err),
      ),
    )
    expect(out).toMatch(/^{"time":"2\n0\n$/)
  })
})

describe('restore', () => {
  test('a dry run writes nothing anywhere', async () => {
    const before = await fingerprint(directory)
    for (const target of ['file:./new', `file://${directory}/app`]) {
      const { code, out } = await run('restore', '--to', iso(markAt(0).at), '--target', target, '--dry-run', '--json')
      expect([code, jsonLines(out)]).toMatchObject([0, [{ written: false, moment: iso(markAt(0).at) }]])
    }
    expect(await fingerprint(directory)).toEqual(before)
    const text = (await run('restore', '--to', iso(markAt(0).at), '--target', `file://${directory}/app`, '--dry-run'))
      .out
    expect(text).toMatch(/^users\s+1\s+0\s+0\s+0$/m)
    expect(text).toContain('  + users/u1')
    expect(text).toContain('nothing was written')
  })

  test('into a directory: exactly what at() says', async () => {
    const moment = iso(markAt(1).at)
    const { code, err, out } = await run('restore', '--to', moment, '--target', './dir', '--json')
    expect([code, err]).toEqual([0, ''])
    expect(jsonLines(out)).toMatchObject([{ written: true, preview: { added: 20, changed: 0, removed: 0 } }])
    const engine = await Tidemark.open({ store })
    for (const resource of ['users', 'orders']) {
      const lines: string[] = []
      for await (const { kind, image } of engine.at(moment).states({ resources: [resource] })) {
        if (kind === 'record') lines.push(Buffer.from(image.json).toString())
      }
      const file = gunzipSync(await readFile(join(directory, 'dir', `${resource}.jsonl.gz`))).toString()
      const records = file
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(records).toMatchObject(lines.map((line) => JSON.parse(line)))
      expect(Object.fromEntries(records.map(({ id, name, n }) => [id, { name, n }]))).toEqual(markAt(1).state[resource])
    }
    await engine.close()
  })

  test('a target that holds data needs --yes', async () => {
    const before = await fingerprint(join(directory, 'dir'))
    const args = ['restore', '--to', iso(markAt(2).at), '--target', './dir', '--resource', 'users', '--id', 'u2', 'u3']
    const refused = await run(...args, '--json')
    expect(refused.code).toBe(5)
    expect(jsonLines(refused.out)).toMatchObject([{ written: false, preview: { added: 0, unchanged: 3 } }])
    expect(jsonLines(refused.err)).toMatchObject([{ error: { code: 'CONFIRMATION_NEEDED', exitCode: 5 } }])
    expect(await fingerprint(join(directory, 'dir'))).toEqual(before)
    expect((await run(...args)).err).toContain('--yes')
    expect((await run(...args, '--yes', '--memory', '32')).code).toBe(0)
    expect((await readdir(join(directory, 'dir'))).sort()).toEqual(['s3db.json', 'users.jsonl.gz'])
    const file = gunzipSync(await readFile(join(directory, 'dir', 'users.jsonl.gz'))).toString()
    expect(
      file
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).id),
    ).toEqual(['u2', 'u3'])
  })

  test('into another database', async () => {
    const { code } = await run('restore', '--to', iso(markAt(1).at), '--target', `file://${directory}/other`)
    expect(code).toBe(0)
    expect(await stateOf(join(directory, 'other'))).toEqual(markAt(1).state)
    expect(await stateOf(join(directory, 'app'))).toEqual(markAt(2).state)
  })

  test('in place, captured, and undone again', async () => {
    const target = ['--target', `file://${directory}/app`, '--journal', 'cli-journal']
    const refused = await run('restore', '--to', iso(markAt(0).at), ...target)
    expect(refused.code).toBe(5)
    expect(await stateOf(join(directory, 'app'))).toEqual(markAt(2).state)
    const restored = await run('restore', '--to', iso(markAt(0).at), ...target, '--yes')
    expect(restored.code).toBe(0)
    expect(await stateOf(join(directory, 'app'))).toEqual(markAt(0).state)
    expect((await readdir(join(directory, 'cli-journal'))).length).toBe(1)
    expect(jsonLines((await run('log', 'users/u1', '--json')).out).at(-1)).toMatchObject({
      operation: 'insert',
      actor: 'tidemark',
    })
    expect(jsonLines((await run('status', '--json')).out)).toMatchObject([{ epochs: [{ epoch: 1 }, { epoch: 2 }] }])
    // What it says takes it back is pasted as it stands.
    const [, command = ''] = /^To take it back:\n {2}tidemark (.*)$/m.exec(restored.out) ?? []
    expect((await run(...command.split(' '))).code).toBe(0)
    expect(await stateOf(join(directory, 'app'))).toEqual(markAt(2).state)
    expect((await run('verify')).code).toBe(0)
  })

  test('upkeep says what went', async () => {
    expect(await run('upkeep')).toMatchObject({ code: 0, out: expect.stringContaining('none is old enough to go') })
    expect(jsonLines((await run('upkeep', '--json')).out)).toEqual([
      { forgotten: 0, deleted: 0, refused: [], keeping: { versions: 'none' } },
    ])
  })

  test('compact says what was merged, and refuses a grace that is none', async () => {
    // What is merged depends on whether a window of time has ended since it was written.
    const { code, out } = await run('compact')
    expect(code).toBe(0)
    expect(out).toMatch(/^merged +(nothing: there is nothing to gain|\d+ segments into \d+, in \d+ steps?)$/m)
    const [told] = jsonLines((await run('compact', '--json')).out)
    expect(told).toMatchObject({ deleted: 0, refused: [], isHeld: false, forgotten: 0, merges: expect.any(Array) })
    expect(await run('compact', '--grace', 'soon')).toMatchObject({ code: 2, err: expect.stringContaining('--grace') })
  })

  test('a deleted record is erased for good; the head that was noted before still holds', async () => {
    const head = (await run('head')).out.trim()
    expect(jsonLines((await run('head', '--json')).out)).toMatchObject([
      { head, generation: Number.parseInt(head, 10) },
    ])
    const erase = ['erase', 'users/u1', '--reason', 'request 4711']
    expect((await run(...erase)).code).toBe(5)
    expect(jsonLines((await run(...erase, '--dry-run', '--json')).out)).toMatchObject([{ entry: null }])
    expect((await run('log', 'users/u1')).code).toBe(0)
    expect((await run('erase', 'orders/o:3', '--reason', 'r', '--yes')).err).toContain('RECORD_EXISTS')
    const { code, out } = await run(...erase, '--name', 'ann', '--yes', '--json')
    expect([code, jsonLines(out)]).toMatchObject([
      0,
      [{ entry: { resource: 'users', reason: 'request 4711', by: 'ann' } }],
    ])
    expect((await run('log', 'users/u1')).code).toBe(3)
    expect((await run('show', 'users/u1', '--at', iso(markAt(1).at))).code).toBe(3)
    expect((await run('verify', '--head', head)).code).toBe(0)
    const forged = `${head.slice(0, -1)}${head.endsWith('0') ? '1' : '0'}`
    expect((await run('verify', '--head', forged)).code).toBe(4)
    expect((await run('verify', '--head', 'nonsense')).code).toBe(2)
  })
})

function startApplication(home: string): Promise<Application> {
  const script = join(import.meta.dirname, '../support/cli-application.ts')
  return talkTo(spawn(process.execPath, [script, home], { stdio: ['pipe', 'pipe', 'inherit'] }))
}

describe('beside the application', () => {
  test('a running one is asked for what it has, and a killed one is completed', async () => {
    const here = await mkdtemp(join(tmpdir(), 'tidemark-cli-app-'))
    const cli = (...args: string[]): Promise<Run> => tidemark(here, [...args, '--store', `file:${here}/store`])
    const live = `file://${here}/app`
    const app = await startApplication(here)
    try {
      await app.send({ put: { id: 'a', name: 'one', n: 1 } })
      const good = await app.send({ put: { id: 'b', name: 'two', n: 2 } })
      await app.send({ put: { id: 'a', name: 'bad', n: 0 }, actor: 'deploy' })
      const last = await app.send({ delete: 'b', actor: 'deploy' })
      // Nothing of this need be in the store yet: the application has it in its journal.
      expect(jsonLines((await cli('log', 'users/a', '--json')).out)).toMatchObject([
        { actor: 'app' },
        { actor: 'deploy' },
      ])
      expect((await cli('show', 'users/b', '--at', String(good.at), '--json')).out).toContain('"two"')
      expect((await cli('restore', '--to', String(good.at), '--target', live, '--yes')).code).toBe(0)
      expect((await app.send({ read: true })).records).toEqual(good.records)
      expect((await cli('restore', '--to', String(last.at), '--target', live, '--yes')).code).toBe(0)
      expect((await app.send({ read: true })).records).toEqual(last.records)
      const more = await app.send({ put: { id: 'c', name: 'three', n: 3 } })
      app.process.kill('SIGKILL')
      await new Promise((resolve) => app.process.once('exit', resolve))
      expect((await cli('show', 'users/c', '--json')).out).toContain('"three"')
      const { code, err } = await cli('restore', '--to', String(more.at), '--target', './recovered')
      expect([code, err]).toEqual([0, ''])
      const file = gunzipSync(await readFile(join(here, 'recovered', 'users.jsonl.gz'))).toString()
      const records = file
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(Object.fromEntries(records.map(({ id, name, n }) => [id, { name, n }]))).toEqual(more.records)
      expect((await cli('restore', '--to', String(good.at), '--target', live, '--yes')).code).toBe(0)
      expect((await stateOf(join(here, 'app'))).users).toEqual(good.records)
      expect((await cli('verify')).code).toBe(0)
    } finally {
      app.process.kill('SIGKILL')
      await rm(here, { recursive: true, force: true })
    }
  })
})

describe('failures', () => {
  const cases: [string, () => string[], number, string][] = [
    ['an unknown option', () => ['status', '--nope'], 2, 'OPTION_INVALID'],
    ['an unknown command', () => ['nope'], 2, 'OPTION_INVALID'],
    ['a missing option', () => ['restore', '--to', 'latest'], 2, 'OPTION_INVALID'],
    ['a bad moment', () => ['show', 'users/u1', '--at', 'yesterday'], 2, 'MOMENT_INVALID'],
    ['a bad record name', () => ['log', 'users'], 2, 'OPTION_INVALID'],
    ['bad memory', () => ['snapshot', '--memory', '1.5'], 2, 'OPTION_INVALID'],
    ['ids without a resource', () => ['restore', '--to', 'latest', '--target', 'x', '--id', '1'], 2, 'OPTION_INVALID'],
    [
      '--in-place with a directory',
      () => ['restore', '--to', 'latest', '--target', 'x', '--in-place'],
      2,
      'TARGET_INVALID',
    ],
    ['a target with other files', () => ['restore', '--to', 'latest', '--target', '.', '--yes'], 2, 'TARGET_INVALID'],
    ['too few records for the demo', () => ['demo', '--records', '5'], 2, 'OPTION_INVALID'],
    ['a moment too early', () => ['show', 'users/u1', '--at', '1000'], 3, 'MOMENT_UNREACHABLE'],
    ['a moment in the future', () => ['show', 'users/u1', '--at', '2999-01-01T00:00:00Z'], 3, 'MOMENT_UNREACHABLE'],
    ['no such record', () => ['log', 'users/none'], 3, 'RECORD_NOT_FOUND'],
    [
      'no such resource',
      () => ['restore', '--to', 'latest', '--target', 'x', '--resource', 'no'],
      3,
      'RESOURCE_NOT_FOUND',
    ],
    ['no store', () => ['status', '--store', 'file:./nothing'], 3, 'STORE_NOT_FOUND'],
    ['a server that is down', () => ['status', '--store', DOWN], 6, 'STORE_UNAVAILABLE'],
  ]

  test.each(cases)('%s', async (_name, args, exitCode, code) => {
    const { code: status, out, err } = await run(...args(), '--json')
    expect([status, out]).toEqual([exitCode, ''])
    const [{ error }] = jsonLines(err) as [{ error: Record<string, string> }]
    expect(error).toMatchObject({ exitCode, message: expect.stringMatching(/./), hint: expect.stringMatching(/./) })
    expect(error.code).toContain(code)
    const text = await run(...args())
    expect([text.code, text.out]).toEqual([exitCode, ''])
    expect(text.err).toMatch(/^error [A-Z_]+: .+\nnext: .+\n$/)
    expect(text.err).not.toContain('    at ')
  })

  test('damage is found, named, and stops a restore', async () => {
    const files = [...(await fingerprint(join(directory, 'store', 'segment'))).keys()]
    const intact = await Promise.all(files.map((file) => readFile(file)))
    for (const [i, file] of files.entries()) {
      const spoilt = Buffer.from(intact[i] ?? '')
      spoilt[spoilt.length >> 1] = (spoilt[spoilt.length >> 1] ?? 0) ^ 1
      await writeFile(file, spoilt)
    }
    try {
      const { code, out } = await run('verify', '--json')
      expect(code).toBe(4)
      const lines = jsonLines(out)
      const [damage, told] = [JSON.stringify(lines.at(-1)?.damage), JSON.stringify(lines.slice(0, -1))]
      for (const file of files) {
        expect(damage).toContain(file.slice(file.indexOf('segment/')))
        expect(told).toContain(file.slice(file.indexOf('segment/')))
      }
      expect(lines.at(-1)?.damaged).toBe(lines.length - 1)
      expect((await run('verify')).out).toMatch(/^damage\s+\d+ found$/m)
      const restore = await run('restore', '--to', iso(markAt(1).at), '--target', './never')
      expect([restore.code, restore.out]).toEqual([4, ''])
      expect(restore.err).toMatch(/SEGMENT_CORRUPT: .*segment\//)
      expect(await readdir(directory)).not.toContain('never')
    } finally {
      for (const [i, file] of files.entries()) await writeFile(file, intact[i] ?? '')
    }
    expect((await run('verify')).code).toBe(0)
  })

  test('help and version go to stdout; the exit codes are told', async () => {
    const help = await run('--help')
    expect([help.code, help.err]).toEqual([0, ''])
    for (const line of ['  0  done', '  4  damage', '130  interrupted', 'before:<ulid>'])
      expect(help.out).toContain(line)
    expect((await run()).out).toBe(help.out)
    expect((await run('restore', '--help')).out).toContain('--in-place')
    expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect((await tidemark(directory, ['status'])).err).toContain('TIDEMARK_STORE')
  })
})
