import { mkdtempSync, rmSync } from 'node:fs'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { Keys } from '../../src/engine/keys.ts'
import { placeOf } from '../../src/engine/opening.ts'
import { openToRead } from '../../src/engine/starting.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { rewritings } from '../../src/model/erasure.ts'
import { formatHead } from '../../src/model/head.ts'
import { firstUlidAt, newUlid } from '../../src/model/ulid.ts'
import { Secret } from '../../src/store/encryption/secret.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { forgetGenerations } from '../../src/timeline/forget.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { putReplaced } from '../../src/upkeep/replaced-files.ts'
import { allSegments } from '../support/catalogue.ts'
import { choose, pick, type Random } from '../support/fuzz/mutate.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { random } from '../support/simulated-disk.ts'
import type { Campaign, Tally } from './campaign.ts'

/** A store with files of every kind, and the head that was noted when it was whole. */
interface Sample {
  readonly directory: string
  readonly files: readonly string[]
  readonly head: string
  readonly encryption: { readonly key: Uint8Array } | null
}

/** Kinds of files; those that `leftover` are named by nothing, so `verify` names them as such. */
function kindOf(file: string): string {
  if (file === 'tidemark.json') return 'store file'
  const [first = '', ...rest] = file.split('/')
  if (first === 'segment') {
    if (file.endsWith('-00000000.parquet')) return 'leftover segment'
    if (file.endsWith('.bin')) return 'index'
    return file.endsWith('.json.gz') ? 'chains' : rest[1] === '00' ? 'segment' : 'merged segment'
  }
  if (first === 'snapshot')
    return rest[0]?.endsWith('-00000000') ? 'leftover snapshot' : rest[1] === 's3db.json' ? 'manifest' : 'snapshot'
  return KINDS[first] ?? 'leftover unknown'
}

const KINDS: Readonly<Record<string, string>> = {
  timeline: 'timeline',
  node: 'node',
  heads: 'heads',
  replaced: 'list of replaced files',
  journal: 'frame',
  drill: 'proof',
  key: 'key slot',
}

const WRITES = 40

/**
 * A history of all three places of a journal, with several snapshots and drills. It is copied while it is written, so
 * that frames are there that are in no segment yet.
 */
async function makeSample(home: string, encryption: Sample['encryption']): Promise<Sample> {
  const directory = join(home, 'store')
  const database = new ModelDatabase()
  await database.write({ kind: 'schema', resource: 'users', id: '' }, recordImage({ name: 'users' }))
  await database.write({ kind: 'object', resource: 'users', id: 'seq=1' }, recordImage({ n: 1 }))
  const store = { url: `file:${home}/live`, ...(encryption === null ? {} : { encryption }) }
  const seal = { events: 1_000_000, bytes: 1 << 30, ageMs: 3_600_000 }
  const options = { store, source: database, journal: join(home, 'journal'), ack: 'store', seal } as const
  const tidemark = await Tidemark.capture(options)
  for (let i = 0; i < WRITES; i++) {
    const item = { kind: 'record', resource: 'users', id: `u${i % 9}` } as const
    await database.write(item, i % 7 === 6 ? null : recordImage({ i, text: 'x'.repeat(i) }))
    if (i % 10 === 5) await tidemark.flush()
    if (i % 12 === 11) await tidemark.snapshot()
    if (i === 26) await grow(store)
  }
  await database.write({ kind: 'record', resource: 'users', id: 'u3' }, null)
  await tidemark.erase('users', 'u3', { reason: 'asked for' })
  await database.write({ kind: 'record', resource: 'users', id: 'after' }, recordImage({ i: WRITES }))
  await tidemark.flush()
  await tidemark.snapshot()
  await tidemark.drill({ count: 2 })
  for (let i = 0; i < 4; i++)
    await database.write({ kind: 'record', resource: 'users', id: `late${i}` }, recordImage({ i }))
  if (encryption !== null) {
    const place = await placeOf(store, {})
    const keys = await Keys.open(place)
    await keys.add(Secret.ofKey(Buffer.alloc(32, 9), 'another key'))
    await keys.add(Secret.ofPassphrase('a passphrase of the test', 'a passphrase'))
  }
  await cp(join(home, 'live'), directory, { recursive: true })
  await tidemark.close()
  await rm(join(directory, '.tmp'), { recursive: true, force: true })
  await leaveOver(directory)
  const open = await Tidemark.open({ store: specOf(directory, encryption) })
  const head = formatHead(await open.head())
  const found = await open.verify({ head })
  await open.close()
  if (found.damage.length > 0) throw new Error(`the store is damaged already: ${JSON.stringify(found.damage)}`)
  // Nodes that others have taken the place of.
  for (const key of found.unreferenced) if (key.startsWith('node/')) await rm(join(directory, key))
  return { directory, files: await filesOf(directory), head, encryption }
}

/** What a history of years has besides: segments that were merged, nodes in both trees, and generations that have gone. */
async function grow(spec: StoreSpec): Promise<void> {
  const { opened, timeline: log } = await openToRead(await placeOf(spec, {}))
  const { store } = opened
  await log.refresh()
  const units = (await allSegments(store, log.timeline)).map((entry) => [entry])
  const erasures = rewritings(log.timeline)
  const request = { run: newUlid(systemClock.now()), level: 1, erasures, units, memory: 1e7, fileBytes: 600 }
  const { replaced, files } = await writeRun(store, request, () => {})
  await putReplaced(store, { ulid: newUlid(systemClock.now()), erasures, keys: replaced })
  await log.commit(() => ({ merge: { replaced, by: files } }))
  // Said at such length that it is too much for the root.
  for (let n = 0; n < 40; n++) {
    const at = firstUlidAt(systemClock.now())
    const hold = {
      id: newUlid(systemClock.now()),
      from: at,
      through: at,
      until: null,
      reason: 'x'.repeat(900),
      by: null,
    }
    await log.commit(() => ({ addHold: hold }))
  }
  await forgetGenerations(store, log, { kept: 12, least: 1 })
}

function specOf(directory: string, encryption: Sample['encryption']): StoreSpec {
  return { url: `file:${directory}`, ...(encryption === null ? {} : { encryption }) }
}

/** Files as attempts leave them behind that died before their commit, after the erasure, and one that somebody else put there. */
async function leaveOver(directory: string): Promise<void> {
  const files = await filesOf(directory)
  const segment = files.findLast((file) => kindOf(file) === 'segment') ?? ''
  await cp(join(directory, segment), join(directory, segment.replace(/[0-9a-f]{8}\.parquet$/, '00000000.parquet')))
  const manifest = files.findLast((file) => kindOf(file) === 'manifest') ?? ''
  const snapshot = manifest.replace('/s3db.json', '')
  await cp(join(directory, snapshot), join(directory, `${snapshot}-00000000`), { recursive: true })
  await writeFile(join(directory, 'unknown.txt'), 'something else')
}

async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  return files.map((entry) => relative(directory, join(entry.parentPath, entry.name))).sort()
}

/** What `verify`, or opening the store for it, says is damaged, and what it says nothing names. */
async function verified({ directory, head, encryption }: Sample): Promise<{ named: string[]; unreferenced: string[] }> {
  try {
    const tidemark = await Tidemark.open({ store: specOf(directory, encryption) })
    try {
      const { damage, unreferenced } = await tidemark.verify({ head })
      return { named: [...new Set(damage.map(({ key }) => key))], unreferenced: [...unreferenced] }
    } finally {
      await tidemark.close()
    }
  } catch (error) {
    if (error instanceof TidemarkError && typeof error.details.key === 'string')
      return { named: [error.details.key], unreferenced: [] }
    throw error
  }
}

type Change = 'flip' | 'truncate' | 'extend' | 'remove' | 'swap'

/** Nothing names these: that one was taken away cannot be known. */
const MAY_GO = ['proof', 'key slot', 'leftover segment', 'leftover snapshot', 'leftover unknown']

function changesOf(file: string, { files }: Sample): Change[] {
  const kind = kindOf(file)
  const newest = files.findLast((other) => kindOf(other) === kind) === file
  const changes: Change[] = ['flip', 'flip', 'flip', 'truncate', 'extend']
  if (!MAY_GO.includes(kind) && !(kind === 'frame' && newest)) changes.push('remove')
  if (files.some((other) => other !== file && kindOf(other) === kind)) changes.push('swap')
  return changes
}

/** Changes the file; returns what it was before, by file. */
async function damage(file: string, change: Change, sample: Sample, draw: Random): Promise<Map<string, Buffer>> {
  const path = join(sample.directory, file)
  const bytes = await readFile(path)
  const before = new Map([[file, bytes]])
  if (change === 'remove') await rm(path)
  else if (change === 'truncate') await writeFile(path, bytes.subarray(0, -1))
  else if (change === 'extend') await writeFile(path, Buffer.concat([bytes, Buffer.from([pick(draw, 256)])]))
  else if (change === 'flip') {
    const at = pick(draw, bytes.length)
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ (1 + pick(draw, 255))
    await writeFile(path, flipped)
  } else {
    const others = sample.files.filter((other) => other !== file && kindOf(other) === kindOf(file))
    const other = choose(draw, others)
    const otherBytes = await readFile(join(sample.directory, other))
    if (Buffer.compare(bytes, otherBytes) === 0) return before
    before.set(other, otherBytes)
    await writeFile(path, otherBytes)
    await writeFile(join(sample.directory, other), bytes)
  }
  return before
}

/** Damages one file and sees that it, and nothing else, is named. */
async function scenario(sample: Sample, seed: number, tally: Tally, verify: typeof verified): Promise<void> {
  const draw = random(seed)
  const kinds = [...new Set(sample.files.map(kindOf))]
  const kind = choose(draw, kinds)
  const file = choose(
    draw,
    sample.files.filter((one) => kindOf(one) === kind),
  )
  const change = choose(draw, changesOf(file, sample))
  const before = await damage(file, change, sample, draw)
  try {
    const { named, unreferenced } = await verify(sample)
    const what = `${change} of ${[...before.keys()].join(' and ')}`
    if (kind.startsWith('leftover')) {
      if (named.length > 0) throw new Error(`${what}: ${named.join(', ')} was said to be damaged`)
      if (!unreferenced.includes(file)) throw new Error(`${what}: nothing was said of it`)
    } else if (change === 'swap' && before.size === 1) {
      if (named.length > 0) throw new Error(`nothing was changed, and ${named.join(', ')} was said to be damaged`)
      return
    } else expectNamed(what, named, [...before.keys()])
    tally.add(`${kind} ${change}`)
  } finally {
    for (const [one, bytes] of before) await writeFile(join(sample.directory, one), bytes)
  }
}

/** Of two that were swapped, an error at the opening names the one that it met. */
function expectNamed(what: string, named: readonly string[], damaged: readonly string[]): void {
  const others = named.filter((file) => !damaged.includes(file))
  const enough = named.length === damaged.length || (damaged.length > 1 && named.length === 1)
  if (others.length === 0 && enough) return
  throw new Error(`${what}: named was ${named.length === 0 ? 'nothing' : named.join(', ')}`)
}

const samples = new Map<string, Promise<Sample>>()

/** The store is the same for all seeds of a run; it is made once, in a directory that goes with the process. */
function sampleOf(name: 'clear' | 'encrypted'): Promise<Sample> {
  const known = samples.get(name)
  if (known !== undefined) return known
  const home = mkdtempSync(join(tmpdir(), 'tidemark-flips-'))
  process.on('exit', () => rmSync(home, { recursive: true, force: true }))
  const made = makeSample(home, name === 'clear' ? null : { key: Buffer.alloc(32, 5) })
  samples.set(name, made)
  return made
}

/** One random byte, or end, or place, of one random file is changed: `tidemark verify` names that file, and no other. */
export const flips: Campaign = {
  name: 'flips',
  seeds: 1000,
  run: async (seed, tally) => scenario(await sampleOf(seed % 2 === 0 ? 'clear' : 'encrypted'), seed, tally, verified),
}

/** The same with a `verify` that is silent about one kind of files: the campaign must find that. */
export function flipsWithout(prefix: string): Campaign {
  const silent: typeof verified = async (sample) => {
    const { named, unreferenced } = await verified(sample)
    return { named: named.filter((file) => !file.startsWith(prefix)), unreferenced }
  }
  return { ...flips, run: async (seed, tally) => scenario(await sampleOf('clear'), seed, tally, silent) }
}
