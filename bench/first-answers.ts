import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Tidemark } from '../src/engine/tidemark.ts'
import { firstUlidAt } from '../src/model/ulid.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { CountingStore } from '../test/support/stores.ts'
import { writeHistory } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { RESOURCE, steadyChunks, steadyId, steadyStates } from './lib/steady-history.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/*
 * node bench/first-answers.ts [--segments 10000] [--quick]: by itself, since merging a year at once takes minutes.
 */

/** A year in so many segments of `events` events each; each answer is asked for so many times, in a process of its own. */
export interface FirstAnswersOptions {
  readonly segments: number
  readonly events: number
  readonly records: number
  readonly runs: number
}

const FULL: FirstAnswersOptions = { segments: 10_000, events: 20, records: 5_000, runs: 5 }
const QUICK: FirstAnswersOptions = { segments: 200, events: 20, records: 500, runs: 1 }

const BEGIN = Date.UTC(2025, 0, 1)
const DAY = 86_400_000
const YEAR = 365 * DAY
/** Milliseconds from the opening of a store until it has answered. */
const TARGET = '<= 300'

interface Answer {
  readonly ms: number
  readonly cpuMs: number
  /** Requests to the store; a listing is one. */
  readonly requests: number
  readonly answer: string
}

/**
 * How long the first `status` and the first `get` take on a store of a year, whose last snapshot is a day old: its segments as
 * they were sealed, and the same merged.
 */
export async function run(options: FirstAnswersOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const place = join(directory, 'store')
    const start = firstUlidAt(BEGIN)
    const steady = { ...options, beginMs: BEGIN, everyMs: YEAR / options.segments }
    await writeHistory(new FilesystemStore(place), start, [steadyStates(options.records)], steadyChunks(steady))
    await changed(place, async (tidemark) => {
      await tidemark.snapshot({ at: new Date(BEGIN + YEAR - DAY).toISOString() })
    })
    const rows: BenchRow[] = []
    const sealed = await rowsOf('not merged', place, options)
    await changed(place, async (tidemark) => {
      const { merges } = await tidemark.compact({ graceMs: 0 })
      mustBe(merges.length > 0, 'segments were merged')
    })
    const merged = await rowsOf('merged', place, options)
    mustBe(sealed.record === merged.record, 'a record in both stores')
    rows.push(...sealed.rows, ...merged.rows)
    return rows
  })
}

async function changed(place: string, act: (tidemark: Tidemark) => Promise<void>): Promise<void> {
  const tidemark = await Tidemark.open({ store: `file:${place}` })
  await act(tidemark)
  await tidemark.close()
}

async function rowsOf(
  how: string,
  place: string,
  { segments, runs }: FirstAnswersOptions,
): Promise<{ readonly rows: readonly BenchRow[]; readonly record: string }> {
  const rows: BenchRow[] = []
  let record = ''
  for (const what of ['status', 'get'] as const) {
    const answers: Answer[] = []
    for (let i = 0; i < runs; i++) answers.push(await answerOf(what, place))
    const [first] = answers
    if (what === 'get') record = first?.answer ?? ''
    const cpuMs = median(answers.map((answer) => answer.cpuMs))
    const size = what === 'status' ? first?.answer : `${segments} segments were sealed`
    const note = `${size}, ${how}; a process of its own; ${first?.requests} requests, ${cpuMs.toFixed(0)} ms of the processor`
    const ours = median(answers.map(({ ms }) => ms))
    rows.push({ name: `first ${what}, ${how}`, ours, peer: null, unit: 'ms', ratio: null, target: TARGET, note })
  }
  return { rows, record }
}

async function answerOf(what: string, place: string): Promise<Answer> {
  const script = fileURLToPath(import.meta.url)
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--as', what, place])
  return JSON.parse(stdout)
}

/** In a process of its own. */
async function answered(what: string, place: string): Promise<Answer> {
  const objects = new CountingStore(new FilesystemStore(place))
  const [started, before] = [performance.now(), process.cpuUsage()]
  const tidemark = await Tidemark.open({ store: { url: 'bench://store', objects } })
  const answer = await (what === 'status' ? statusOf(tidemark) : recordOf(tidemark))
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(before)
  const requests = Object.values(objects.calls).reduce((sum, one) => sum + one, 0)
  await tidemark.close()
  return { ms, cpuMs: (user + system) / 1000, requests, answer }
}

async function statusOf(tidemark: Tidemark): Promise<string> {
  const { segments } = await tidemark.status()
  return `${segments.count} segments with ${segments.events} events`
}

async function recordOf(tidemark: Tidemark): Promise<string> {
  const record = await tidemark.at('latest').get(RESOURCE, steadyId(7))
  mustBe(record !== null, 'a record is there')
  return JSON.stringify(record)
}

if (import.meta.main) {
  const [, , as, what = '', place = ''] = process.argv
  if (as === '--as') console.log(JSON.stringify(await answered(what, place)))
  else {
    const base = isQuick() ? QUICK : FULL
    printRows(await run({ ...base, segments: numberFlag('--segments', base.segments) }))
  }
}
