import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Status, Verdict } from '../../src/index.ts'
import { Tidemark } from '../../src/index.ts'
import { type Application, fingerprint, jsonLines, type Run, talkTo } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'

let directory = ''
let app: Application | null = null
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'status-'))
})
afterEach(async () => {
  await kill()
  rmSync(directory, { recursive: true, force: true })
})

const run = (...args: string[]): Promise<Run> =>
  tidemark(directory, args, { TIDEMARK_STORE: `file:${directory}/store` })
const gone = ['--reason', 'the disk is gone', '--name', 'ann']

function start(): Promise<Application> {
  const script = join(import.meta.dirname, '../support/cli-application.ts')
  // What is to be behind stays behind, however long a loaded machine takes to look.
  const env = { ...process.env, SEAL_AGE_MS: '3600000' }
  return talkTo(spawn(process.execPath, [script, directory], { env, stdio: ['pipe', 'pipe', 'inherit'] }))
}

async function kill(): Promise<void> {
  const child = app?.process
  app = null
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await ended
}

async function status(...args: string[]): Promise<{ code: number; status: Status }> {
  const { code, out } = await run('status', '--json', ...args)
  return { code, status: jsonLines(out)[0] as unknown as Status }
}

async function verdictAt(at: number): Promise<{ code: number; verdict: Verdict }> {
  const { code, status: found } = await status('--at', String(at))
  return { code, verdict: found.verdict }
}

test('idle, behind, stalled and died are told apart, and telling changes nothing', { timeout: 180_000 }, async () => {
  app = await start()
  expect((await status('--fail-on-lag', '1s')).status.streams).toMatchObject([
    { condition: { state: 'idle', lagMs: 0 } },
  ])
  await app.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
  const { at } = await app.send({ put: { id: 'u2', name: 'Bob', n: 2 } })
  const behind = await status('--fail-on-lag', '1ms')
  expect(behind.code).toBe(8)
  expect(behind.status.streams).toMatchObject([{ condition: { state: 'behind', pending: { events: 2 } } }])
  expect((await status('--fail-on-lag', '1h')).code).toBe(0)
  expect(behind.status.streams[0]?.condition.report?.requests.put).toBeGreaterThan(0)
  app.process.kill('SIGSTOP')
  const stalled = await status('--fail-on-lag', '1h')
  expect(stalled.status.streams).toMatchObject([{ condition: { state: 'stalled', lagMs: null } }])
  expect(stalled.status.streams[0]?.condition.why).toContain('did not answer')
  await kill()
  const before = await fingerprint(directory)
  const died = await status('--fail-on-lag', '1ms')
  expect(died.code).toBe(8)
  expect(died.status.streams).toMatchObject([{ condition: { state: 'died', pending: { events: 2 }, report: null } }])
  const [stream] = died.status.streams
  expect(Date.parse(stream?.lastEvent?.time ?? '')).toBeLessThanOrEqual(at)
  expect(Date.parse(stream?.lastEvent?.time ?? '')).toBeGreaterThan(at - 60_000)
  const text = await run('status')
  expect(text.out).toMatch(/died/)
  expect(text.out).toContain('has ended without closing it; its journal can be read')
  expect(await fingerprint(directory)).toEqual(before)
  expect(await verdictAt(at)).toMatchObject({ code: 0, verdict: { verdict: 'yes', gaps: [], reason: null } })
  expect((await status('--fail-on-lag', '1ms')).status.streams).toMatchObject([{ condition: { state: 'closed' } }])
})

test('a stream whose journal is gone ends as a gap, which is acknowledged, told, and healed by a baseline', {
  timeout: 300_000,
}, async () => {
  app = await start()
  const { at: whole } = await app.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
  expect((await verdictAt(whole)).verdict.verdict).toBe('yes')
  const { at } = await app.send({ put: { id: 'u2', name: 'Bob', n: 2 } })
  await kill()
  rmSync(join(directory, 'journal'), { recursive: true })
  const refused = await verdictAt(at)
  expect(refused).toMatchObject({ code: 3, verdict: { verdict: 'no', reason: { code: 'MOMENT_UNREACHABLE' } } })
  expect(refused.verdict.reason?.message).toContain('its journal cannot be read')
  // Nor is latest an older state: it may hold later events, and nobody can be asked.
  const latest = await run('restore', '--to', 'latest', '--target', 'file:./out', '--json')
  expect(latest.code).toBe(3)
  const stalled = await status()
  expect(stalled).toMatchObject({ code: 10, status: { streams: [{ condition: { state: 'stalled' } }] } })
  expect(stalled.status.verdict).toMatchObject({ verdict: 'no', reason: { code: 'MOMENT_UNREACHABLE' } })
  const { error } = JSON.parse(latest.err)
  expect(error.message).toContain(stalled.status.streams[0]?.id)
  const known = String(stalled.status.reachable.latest)
  expect(error.hint).toContain(`--to ${known}`)
  expect((await run('restore', '--to', known, '--target', 'file:./known')).code).toBe(0)
  expect((await run('status')).out).toMatch(/nothing of it for .*, and nobody can be asked/)
  const failed = await run('restore', '--to', String(at), '--target', 'file:./out', '--json')
  expect(failed.code).toBe(3)
  expect(JSON.parse(failed.err).error.message).toBe(refused.verdict.reason?.message)
  const [stream] = (await status()).status.streams
  const id = stream?.id ?? ''
  expect(refused.verdict.reason?.hint).toContain(`tidemark stream end ${id}`)

  const ended = await run('stream', 'end', id, ...gone)
  expect(ended.out).toContain('events from')
  expect(ended.out).toContain('restart it now')
  expect((await run('stream', 'end', id, ...gone)).code).toBe(3)
  expect([(await status('--fail-on-gap')).code, (await status()).code]).toEqual([7, 0])
  const open = await verdictAt(Date.now())
  expect(open).toMatchObject({ code: 7, verdict: { verdict: 'except', gaps: [{ stream: id, lastSequence: null }] } })
  const nearest = Date.parse(open.verdict.nearest.before ?? '')
  expect(await verdictAt(nearest)).toMatchObject({ code: 0, verdict: { verdict: 'yes' } })
  expect((await verdictAt(nearest + 1)).verdict.verdict).toBe('except')
  const alarmed = await run('restore', '--to', String(at + 5), '--target', 'file:./out', '--json')
  expect(alarmed.code).toBe(4)
  const hint = String(JSON.parse(alarmed.err).error.hint)
  expect((await run('verify')).code).toBe(4)

  const range = /gap acknowledge \S+ (\d+-)/.exec(hint)?.[1] ?? ''
  expect((await run('gap', 'acknowledge', id, '99-', ...gone)).code).toBe(3)
  expect((await run('gap', 'acknowledge', id, 'all', ...gone)).code).toBe(2)
  expect((await run('gap', 'acknowledge', id, range, ...gone)).code).toBe(0)
  expect(jsonLines((await run('gap', 'list', '--json')).out)).toMatchObject([
    { stream: id, acknowledged: { by: 'ann', reason: 'the disk is gone' } },
  ])
  expect((await status('--fail-on-gap')).code).toBe(0)
  expect((await verdictAt(Date.now())).code).toBe(0)
  const restored = await run('restore', '--to', String(Date.now()), '--target', 'file:./out')
  expect([restored.code, restored.err]).toEqual([0, ''])
  expect(restored.out).toContain('without what is missing')
  expect(restored.out).toContain('acknowledged by ann: the disk is gone')
  expect((await run('snapshot')).code).toBe(0)
  expect((await verdictAt(Date.now())).verdict).toMatchObject({ verdict: 'except', gaps: [{ stream: id }] })
  expect((await run('verify')).out).toMatch(/damage\s+none/)

  app = await start()
  const { at: after } = await app.send({ put: { id: 'u3', name: 'Cid', n: 3 } })
  expect(await verdictAt(after)).toMatchObject({ code: 0, verdict: { verdict: 'yes', gaps: [] } })
  await app.send({ end: true }).catch(() => undefined) // it ends instead of answering
  const store = await Tidemark.open({ store: `file:${directory}/store` })
  expect(await store.at(after).count('users')).toBe(3)
  await store.close()
  expect((await run('verify')).code).toBe(0)
})

test('a stream that is being written is not ended', { timeout: 60_000 }, async () => {
  app = await start()
  const id = (await status()).status.streams[0]?.id ?? ''
  expect((await run('stream', 'end', id, ...gone)).code).toBe(5)
  await app.send({ put: { id: 'u1', name: 'Ann', n: 1 } })
  await kill()
  // What its journal holds is brought in: nothing is missing.
  const { code, out } = await run('stream', 'end', id, ...gone, '--json')
  expect([code, jsonLines(out)]).toEqual([0, [{ stream: id, loss: null }]])
  expect((await status('--fail-on-gap')).status).toMatchObject({ gaps: [], verdict: { verdict: 'yes' } })
})
