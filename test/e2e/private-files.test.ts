import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { ROOT } from '../support/cli.ts'

const directory = mkdtempSync(join(tmpdir(), 'private-files-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

test('whatever the umask, nobody else may enter a directory or read a file that was made, even for a moment', async () => {
  mkdirSync(join(directory, 'tmp'), { mode: 0o777 })
  const writer = join(ROOT, 'test/support/umask-writer.ts')
  const env = { ...process.env, TMPDIR: join(directory, 'tmp') }
  const { stdout } = await promisify(execFile)(process.execPath, [writer, directory], { env, maxBuffer: 1 << 26 })
  const seen: [path: string, mode: string, kind: string][] = JSON.parse(stdout)
  const inside = seen.filter(([path]) => path !== 'tmp')
  expect(inside.filter(([, mode, kind]) => kind === 'directory' && mode !== '700')).toEqual([])
  expect(inside.filter(([, mode, kind]) => kind === 'file' && mode !== '600')).toEqual([])
  // Each place that files are made in has been seen, also those that come and go.
  const paths = inside.map(([path]) => path)
  for (const place of [
    /^journal\/store\/segment\/.*\.parquet$/,
    /^journal\/store\/timeline\//,
    /^journal\/store\/drill\//,
    /^journal\/store\/\.tmp\/./,
    /^journal\/store\/snapshot\/.*s3db\.json$/,
    /^journal\/journal\/.*\/.*\/.*\.journal$/,
    /^journal\/journal\/.*lock/,
    /^store\/store\/journal\/.*\.frame$/,
    /^encrypted\/store\/key\//,
    /^encrypted\/plain\/segment\//,
    /^journal\/restored\/users\.jsonl\.gz$/,
    /^tmp\/tidemark-\d+$/,
    /^tmp\/tidemark-[^/]*\/state\/./,
  ])
    expect(
      paths.some((path) => place.test(path)),
      `${place}`,
    ).toBe(true)
})
