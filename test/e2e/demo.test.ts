import { exec } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonLines, ROOT, tidemark } from '../support/cli.ts'

let directory = ''
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-demo-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

const RECORDS = 1500
const demo = (...args: string[]) => tidemark(ROOT, ['demo', '--dir', directory, '--records', String(RECORDS), ...args])

/** Runs a command as it was printed, in the checkout. */
function asPrinted(command: string): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = exec(command, { cwd: ROOT }, (_error, out, err) => resolve({ code: child.exitCode ?? -1, out, err }))
  })
}

test('the demo proves what it says, and its next commands work as printed', async () => {
  const first = await demo('--json')
  expect([first.code, first.err]).toEqual([0, ''])
  const [outcome] = jsonLines(first.out)
  expect(outcome).toMatchObject({ records: RECORDS, proven: RECORDS - RECORDS / 100 })
  expect(outcome?.damaged).toBeGreaterThan(RECORDS / 10)

  // A second one takes the place of the first.
  const { code, out, err } = await demo()
  expect([code, err]).toEqual([0, ''])
  expect(out).toContain(`all ${(RECORDS - RECORDS / 100).toLocaleString('en-US')} records are what get() gave`)
  expect(out.match(/^ ?\d+ {2}\w+ .* \d+(\.\d)? m?s$/gm)?.length).toBe(11)
  expect((await readdir(join(directory, 'journal'))).length).toBeLessThanOrEqual(2)
  const commands = [...out.matchAll(/^ {2}((?:npx|zcat) .*)$/gm)].map(([, command = '']) => command)
  expect(commands.length).toBe(6)
  const [status, log, show, restore, zcat, verify] = await inOrder(commands)
  expect(status?.out).toMatch(/^database +tidemark-demo$/m)
  expect(log?.out).toContain('by anna  tx review-7')
  expect(log?.out).toContain('by deploy-2026.11.21  tx migration-12')
  expect(log?.out).toContain('by tidemark')
  expect(JSON.parse(show?.out ?? '').note).toMatch(/: checked$/)
  expect(restore?.out).toMatch(/^restored: /m)
  expect(JSON.parse(zcat?.out ?? '')).toMatchObject(JSON.parse(show?.out ?? ''))
  expect(verify?.out).toMatch(/^damage\s+none$/m)
}, 180_000)

/** The first by npx, as a user types it (`npm ci` has built dist/); the others from the source, which is quicker. */
async function inOrder(commands: readonly string[]): Promise<Awaited<ReturnType<typeof asPrinted>>[]> {
  const runs = []
  for (const [i, command] of commands.entries()) {
    const one = await asPrinted(i === 0 ? command : command.replace('npx tidemark', `"${process.execPath}" src/bin.ts`))
    expect([command, one.code, one.code === 0 ? '' : one.err]).toEqual([command, 0, ''])
    runs.push(one)
  }
  return runs
}

test('the demo deletes no store that is not its own', async () => {
  const { Tidemark } = await import('../../src/engine/tidemark.ts')
  const { ModelDatabase } = await import('../support/model-database.ts')
  const other = join(directory, 'other')
  const store = `file:${other}/store`
  const captured = await Tidemark.capture({ store, source: new ModelDatabase(), ack: 'memory' })
  await captured.close()
  const { code, err } = await tidemark(ROOT, ['demo', '--dir', other, '--records', '200'])
  expect(code).toBe(5)
  expect(err).toContain('STORE_FOREIGN')
  expect((await tidemark(ROOT, ['verify', '--store', store])).code).toBe(0)
})
