import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '../../src/base/bytes.ts'
import { sealJson, unsealJson } from '../../src/format/sealed-json.ts'
import { Tidemark } from '../../src/index.ts'
import { fingerprint, ROOT, talkTo } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'hostile-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** More than an honest store of this size takes, and less than any of the files below says that it needs. */
const MOST_MIB = 512
/** Members of a snapshot may have half a GiB each, and two are inflated ahead. */
const MOST_INFLATED_MIB = 2048

const NAMES = ['..', '../../escaped', '/etc/tidemark-escaped', 'a/../../b', 'nul\0name', '.', '', '%2e%2e', 'users']

beforeAll(async () => {
  const database = new ModelDatabase()
  const capture = await Tidemark.capture({ store: `file:${home}/good`, source: database, journal: `${home}/journal` })
  for (const [n, name] of NAMES.entries()) {
    await database.write({ kind: 'record', resource: name, id: name }, recordImage({ n }))
  }
  await capture.close()
  const reader = await Tidemark.open({ store: `file:${home}/good` })
  // The last commit, so that nothing after it has its hash.
  await reader.snapshot()
  await reader.close()
})

interface Outcome {
  readonly verify: string
  readonly restore: string
  readonly rssMiB: number
}

let copies = 0

/** A copy of the good store, changed, is read in a process with little memory. */
async function read(change: (directory: string) => void): Promise<Outcome> {
  const directory = join(home, `copy-${++copies}`)
  await cp(join(home, 'good'), directory, { recursive: true })
  change(directory)
  const reader = join(ROOT, 'test/support/hostile-reader.ts')
  const args = ['--max-old-space-size=256', reader, directory, `${directory}-restored`]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 })
  rmSync(directory, { recursive: true })
  return JSON.parse(stdout)
}

function only(directory: string, under: string, pattern: RegExp): string {
  const names = readdirSync(join(directory, under), { recursive: true, encoding: 'utf8' }).filter((name) =>
    pattern.test(name),
  )
  return join(directory, under, names.sort().at(-1) ?? 'none')
}

const timelineOf = (directory: string): string => only(directory, 'timeline', /json$/)
const manifestOf = (directory: string): string => only(directory, 'snapshot', /s3db\.json$/)
const segmentOf = (directory: string): string => only(directory, 'segment', /parquet$/)

/** Writes the newest generation of the timeline anew, with its checksum. */
function forgeTimeline(directory: string, edit: (text: string) => string): void {
  const path = timelineOf(directory)
  const text = JSON.stringify(unsealJson(readFileSync(path)))
  const edited = edit(text)
  if (edited === text) throw new Error('nothing was changed')
  writeFileSync(path, sealJson(JSON.parse(edited)))
}

/** Writes the manifest anew, and its hash into the timeline. */
function forgeManifest(directory: string, edit: (text: string) => string): void {
  const path = manifestOf(directory)
  const text = readFileSync(path, 'utf8')
  const edited = edit(text)
  if (edited === text) throw new Error('nothing was changed')
  writeFileSync(path, edited)
  forgeTimeline(directory, (timeline) => timeline.replace(sha256(Buffer.from(text)), sha256(Buffer.from(edited))))
}

/** Makes a file as large as wanted without writing it. */
function blowUp(path: string, bytes: number): void {
  truncateSync(path, bytes)
}

const FILE = /"file": "[^"]*users\.jsonl\.gz"/g
const GIB = 1024 ** 3

test('an honest store is read, and a name is no way out of the directory that is restored to', async () => {
  const { verify, restore, rssMiB } = await read(() => {})
  expect({ verify, restore }).toEqual({ verify: 'whole', restore: 'restored' })
  expect(rssMiB).toBeLessThan(MOST_MIB)
  const restored = join(home, `copy-${copies}-restored`)
  const names = readdirSync(restored, { recursive: true, encoding: 'utf8' })
  expect(names.filter((name) => name.endsWith('.jsonl.gz'))).toHaveLength(NAMES.length)
  for (const name of names) expect(statSync(join(restored, name)).isFile(), name).toBe(true)
  expect(readdirSync(home).filter((name) => !/^(copy-\d+(-restored)?|good|journal)$/.test(name))).toEqual([])
  expect(existsSync('/etc/tidemark-escaped.jsonl.gz')).toBe(false)
})

test.each<[string, (directory: string) => void]>([
  [
    'a manifest that names a file by an absolute path',
    (d) => forgeManifest(d, (t) => t.replace(FILE, '"file": "/etc/passwd"')),
  ],
  [
    'a manifest that names a file above',
    (d) => forgeManifest(d, (t) => t.replace(FILE, '"file": "../../../x.jsonl.gz"')),
  ],
  [
    'a manifest with a member of a terabyte',
    (d) => forgeManifest(d, (t) => t.replace(/("members": \[\s*\[\s*0,\s*)\d+/, '$11099511627776')),
  ],
  ['a manifest of 5 GiB', (d) => blowUp(manifestOf(d), 5 * GIB)],
  ['a timeline of 5 GiB', (d) => blowUp(timelineOf(d), 5 * GIB)],
  [
    'a timeline that names a segment above',
    (d) => forgeTimeline(d, (t) => t.replace(/"key":"segment\/[^"]*"/, '"key":"../../segment.parquet"')),
  ],
  [
    'a timeline that names a snapshot above',
    (d) => forgeTimeline(d, (t) => t.replace(/"prefix":"snapshot\/[^"]*"/, '"prefix":"../../snapshot/"')),
  ],
  [
    'a timeline of a quadrillion events',
    (d) => forgeTimeline(d, (t) => t.replace(/"lastSequence":\d+/g, '"lastSequence":1000000000000000')),
  ],
  ['a timeline that is nested ten million deep', (d) => nest(timelineOf(d))],
  ['a manifest that is nested ten million deep', (d) => forgeManifest(d, () => `${'['.repeat(1e7)}${']'.repeat(1e7)}`)],
  ['a segment of 5 GiB', (d) => blowUp(segmentOf(d), 5 * GIB)],
  ['a segment whose footer counts to 4 G', (d) => patchFooter(segmentOf(d))],
  ['a store file of 5 GiB', (d) => blowUp(join(d, 'tidemark.json'), 5 * GIB)],
  ['a link in the place of the segments', (d) => link(d, 'segment')],
  ['a link in the place of the timeline', (d) => link(d, 'timeline')],
])('%s is an error, and takes no memory', { timeout: 240_000 }, async (_, change) => {
  const { verify, restore, rssMiB } = await read(change)
  expect(verify).toMatch(/^(damage found|(TIMELINE|SEGMENT|SNAPSHOT|OBJECT)_CORRUPT|STORE_DENIED)$/)
  expect(restore).toMatch(
    /^((TIMELINE|SEGMENT|SNAPSHOT|OBJECT)_CORRUPT|STORE_DENIED|HISTORY_GAP|KEY_INVALID|restored)$/,
  )
  expect(rssMiB).toBeLessThan(MOST_MIB)
})

test('a snapshot that inflates to 4 GiB is an error when it has filled what a member may take', {
  timeout: 240_000,
}, async () => {
  const { verify, restore, rssMiB } = await read((directory) => {
    const bomb = gzipSync(Buffer.alloc(GIB, '\n'), { level: 9 })
    const name = only(directory, 'snapshot', /users\.jsonl\.gz$/)
    writeFileSync(name, bomb)
    forgeManifest(directory, (text) => {
      const manifest = JSON.parse(text)
      for (const resource of manifest.tidemark.resources) {
        if (resource.name !== 'users') continue
        const { records } = resource
        Object.assign(records, { bytes: bomb.length, uncompressedBytes: 4 * GIB, sha256: sha256(bomb) })
        records.members = [[0, bomb.length, records.records, 'users']]
      }
      return JSON.stringify(manifest)
    })
  })
  expect({ verify, restore }).toEqual({ verify: 'damage found', restore: 'SNAPSHOT_CORRUPT' })
  expect(rssMiB).toBeLessThan(MOST_INFLATED_MIB)
})

test('a store that says that the journals of another one are its own does not get what is in them', async () => {
  const victim = join(home, 'victim')
  const child = spawn(process.execPath, [join(ROOT, 'test/support/cli-application.ts'), victim], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const application = await talkTo(child)
  await application.send({ put: { id: 'u1', name: 'private', n: 1 } })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const hostile = join(home, 'hostile')
  await cp(join(victim, 'store'), hostile, { recursive: true })
  const path = join(hostile, 'tidemark.json')
  const members = unsealJson(readFileSync(path))
  writeFileSync(path, sealJson({ ...members, id: '01ARZ3NDEKTSV4RRFFQ69G5FAV' }))
  const before = await fingerprint(victim)
  await tidemark(home, ['restore', '--to', 'latest', '--target', './taken', '--store', hostile])
  expect(await fingerprint(victim)).toEqual(before)
  // The true one gets them.
  const target = ['--target', `${home}/brought`, '--store', join(victim, 'store')]
  expect(await tidemark(home, ['restore', '--to', 'latest', ...target])).toMatchObject({ code: 0 })
  expect(await fingerprint(victim)).not.toEqual(before)
})

function nest(path: string): void {
  const sealed = Buffer.from(sealJson({ format: 1, deep: '@' }))
    .toString('utf8')
    .replace('"@"', `${'['.repeat(1e7)}${']'.repeat(1e7)}`)
  const blank = sealed.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${'0'.repeat(64)}"`)
  writeFileSync(path, sealed.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${sha256(Buffer.from(blank))}"`))
}

/** The largest number of a varint, over and over in the footer. */
function patchFooter(path: string): void {
  const bytes = readFileSync(path)
  const length = bytes.readUInt32LE(bytes.length - 8)
  const start = bytes.length - 8 - length
  for (let at = start + 1; at + 5 < start + length; at += 11) bytes.set([0xff, 0xff, 0xff, 0xff, 0x0f], at)
  writeFileSync(path, bytes)
}

function link(directory: string, name: string): void {
  rmSync(join(directory, name), { recursive: true })
  symlinkSync(join(home, 'good', name), join(directory, name))
}
