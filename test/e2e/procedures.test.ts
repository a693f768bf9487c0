import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { jsonLines, ROOT } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const document = readFileSync(join(ROOT, 'schemas/PROCEDURES.md'), 'utf8')
let home = ''

/** Three events in three segments, in a process that has ended. */
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'procedures-'))
  const database = new ModelDatabase()
  const source = await Tidemark.capture({ store: `${home}/store`, journal: `${home}/journal`, source: database })
  for (const id of ['a', 'b', 'c']) {
    await database.write({ kind: 'record', resource: 'users', id }, recordImage({ id }))
    await source.flush()
  }
  await source.close()
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

function run(...args: readonly string[]): ReturnType<typeof tidemark> {
  return tidemark(home, args, { TIDEMARK_STORE: `file:${home}/store` })
}

const files = (directory: string): string[] =>
  readdirSync(`${home}/store/${directory}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.includes('.'))
    .map((name) => `${home}/store/${directory}/${name}`)
    .sort()

/** The command lines of a procedure, as they are printed. */
function commands(heading: string): string[] {
  const [, part = ''] = document.split(`## ${heading}\n`)
  const [section = ''] = part.split('\n## ')
  const blocks = [...section.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block ?? '')
  return blocks.flatMap((block) => block.trim().split('\n'))
}

/** Types one line; what stands for a stream and its gap is read from the command before. */
async function type(
  line: string,
  gap: { stream: string; range: string },
): Promise<{ line: string; code: number; out: string }> {
  const filled = line.replace('"$STREAM"', gap.stream).replace('"$RANGE"', gap.range)
  const words = [...filled.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '')
  expect(words[0]).toBe('tidemark')
  const { code, out, err } = await run(...words.slice(1))
  return { line, code, out: `${out}${err}` }
}

async function follow(heading: string): Promise<{ line: string; code: number; out: string }[]> {
  const done = []
  const [stream = ''] = readdirSync(`${home}/store/segment`)
  for (const line of commands(heading)) {
    const [gap] = line.includes('$RANGE') ? jsonLines((await run('gap', 'list', '--json')).out) : []
    done.push(await type(line, { stream, range: `${gap?.firstSequence}-${gap?.lastSequence ?? ''}` }))
  }
  return done
}

async function restored(): Promise<string> {
  const { code, out, err } = await run('restore', '--to', 'latest', '--target', `${home}/out`)
  expect(code, `${out}${err}`).toBe(0)
  const { out: a } = await run('show', 'users/a')
  const { out: c } = await run('show', 'users/c')
  return `${a}${c}`
}

test('a damaged file: as it is printed', async () => {
  truncateSync(files('timeline').at(-2) ?? '', 9) // of the last write
  truncateSync(files('timeline').at(-1) ?? '', 9) // that the stream was closed
  const verified = await run('verify')
  expect(verified).toMatchObject({ code: 4 })
  expect(verified.out).toMatch(/read +\d+ files/)
  expect(verified.out).toContain('tidemark repair')
  const [shown, applied, clean] = await follow('A damaged file')
  expect(shown, shown?.out).toMatchObject({ code: 4, out: expect.stringContaining('--apply') })
  expect(applied, applied?.out).toMatchObject({ code: 0 })
  expect(clean, clean?.out).toMatchObject({ code: 0 })
  expect(await restored()).toMatch(/"a"[\s\S]*"c"/)
})

test('a missing segment: as it is printed', async () => {
  rmSync(files('segment')[1] ?? '')
  expect(await run('status', '--at', 'latest')).toMatchObject({ code: 0 })
  for (const { code, out, line } of await follow('A missing segment')) expect(code, `${line}\n${out}`).toBe(0)
  expect(await restored()).toMatch(/"a"[\s\S]*"c"/)
})

test('a lost catalogue: as it is printed, with the journals gone too', async () => {
  rmSync(`${home}/store/timeline`, { recursive: true })
  rmSync(`${home}/journal`, { recursive: true })
  expect(await run('status')).toMatchObject({ code: 4, err: expect.stringContaining('tidemark repair') })
  for (const { code, out, line } of await follow('A lost catalogue')) expect(code, `${line}\n${out}`).toBe(0)
  expect(await restored()).toMatch(/"a"[\s\S]*"c"/)
})
