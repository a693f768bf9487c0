import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Tidemark } from '../src/engine/tidemark.ts'
import type { View } from '../src/engine/view.ts'
import { firstUlidAt } from '../src/model/ulid.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { CountingStore } from '../test/support/stores.ts'
import { writeHistory } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { RESOURCE, steadyChunks, steadyId, steadyNumber, steadyStates } from './lib/steady-history.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/*
 * node bench/first-answers.ts [--segments 10000] [--events 20] [--records 5000] [--quick]: by itself, since merging a year at
 * once takes minutes. With --events 500 --records 10000000 it is a year of five million events over ten million records.
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
/** Requests of the first record in a process that knows nothing of the history, and of the next one. */
const COLD_REQUESTS = '<= 8'
const WARM_REQUESTS = '<= 2'
/** Moments at which a record is asked for. */
const MOMENTS = {
  'the end': 'latest',
  'half a year ago': new Date(BEGIN + YEAR / 2).toISOString(),
} as const
type When = keyof typeof MOMENTS
/** Records that are asked for. */
const PROBES = 24

interface Answer {
  readonly ms: number
  readonly cpuMs: number
  /** Requests to the store, a listing is one, once it is open: of records the most that one takes. */
  readonly requests: number
  /** Of opening it. */
  readonly opening: number
  /** The most that another record takes afterwards, in the same view; 0 for `status`. */
  readonly next: number
  readonly answer: string
}

/**
 * How long the first `status` and the first `get` take on a store of a year, whose last snapshot is a day old: its segments as
 * they were sealed, and the same merged. And how many requests a record costs, at the end and half a year before it.
 */
export async function run(options: FirstAnswersOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const place = join(directory, 'store')
    const start = firstUlidAt(BEGIN)
    const steady = { ...options, beginMs: BEGIN, everyMs: YEAR / options.segments }
    await writeHistory(new FilesystemStore(place), start, steadyStates(options.records), steadyChunks(steady))
    await changed(place, async (tidemark) => {
      for (const at of [YEAR / 2 - DAY / 2, YEAR - DAY])
        await tidemark.snapshot({ at: new Date(BEGIN + at).toISOString() })
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
  options: FirstAnswersOptions,
): Promise<{ readonly rows: readonly BenchRow[]; readonly record: string }> {
  const status = await answersOf('status', place, options)
  const { segments, events, records } = options
  const size = `${segments} segments of ${events} events, ${records} records, ${how}`
  const rows: BenchRow[] = [rowOf(`first status, ${how}`, status, size)]
  let record = ''
  for (const when of ['the end', 'half a year ago'] as const) {
    const answers = await answersOf(when, place, options)
    rows.push(rowOf(`first get, ${when}, ${how}`, answers, size))
    for (const { requests, opening, next, answer } of answers.slice(0, 1)) {
      record += answer
      const most = `${size}; the most of ${PROBES} records, and ${opening} of opening the store`
      rows.push(requestsOf(`requests of a first get, ${when}, ${how}`, requests, COLD_REQUESTS, most))
      rows.push(requestsOf(`requests of the next, ${when}, ${how}`, next, WARM_REQUESTS, most))
    }
  }
  return { rows, record }
}

function rowOf(name: string, answers: readonly Answer[], size: string): BenchRow {
  const cpuMs = median(answers.map((answer) => answer.cpuMs))
  const note = `${size}; a process of its own, opening the store included; ${cpuMs.toFixed(0)} ms of the processor`
  const ours = median(answers.map(({ ms }) => ms))
  return { name, ours, peer: null, unit: 'ms', ratio: null, target: TARGET, note }
}

function requestsOf(name: string, ours: number, target: string, note: string): BenchRow {
  return { name, ours, peer: null, unit: '', ratio: null, target, note }
}

async function answersOf(what: string, place: string, options: FirstAnswersOptions): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  for (let i = 0; i < options.runs; i++) answers.push(await answerOf(what, place, options))
  return answers
}

async function answerOf(
  what: string,
  place: string,
  { segments, events, records }: FirstAnswersOptions,
): Promise<Answer> {
  const script = fileURLToPath(import.meta.url)
  const sizes = ['--segments', segments, '--events', events, '--records', records].map(String)
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--as', what, place, ...sizes])
  return JSON.parse(stdout)
}

/** In a process of its own. */
async function answered(what: string, place: string, options: FirstAnswersOptions): Promise<Answer> {
  const objects = new CountingStore(new FilesystemStore(place))
  const [started, before] = [performance.now(), process.cpuUsage()]
  const tidemark = await Tidemark.open({ store: { url: 'bench://store', objects } })
  const opening = requestsTo(objects)
  const view = isWhen(what) ? tidemark.at(MOMENTS[what]) : null
  const [first = 0, ...others] = probesOf(options)
  const answer = await (view === null ? statusOf(tidemark) : recordOf(view, first))
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(before)
  let [requests, next] = [requestsTo(objects) - opening, 0]
  for (const number of view === null ? [] : others) {
    objects.reset()
    if (view !== null) await recordOf(view, number)
    next = Math.max(next, requestsTo(objects))
  }
  await tidemark.close()
  for (const number of isWhen(what) ? others : [])
    requests = Math.max(requests, await coldRequests(objects, what, number))
  return { ms, cpuMs: (user + system) / 1000, requests, opening, next, answer }
}

/** Requests of a record with nothing known of the history. */
async function coldRequests(objects: CountingStore, what: string, number: number): Promise<number> {
  const tidemark = await Tidemark.open({ store: { url: 'bench://store', objects } })
  objects.reset()
  await recordOf(tidemark.at(isWhen(what) ? MOMENTS[what] : 'latest'), number)
  const requests = requestsTo(objects)
  await tidemark.close()
  return requests
}

/** Records all over the database, and those that were changed last, last before the half of the year, and first. */
function probesOf({ segments, events, records }: FirstAnswersOptions): readonly number[] {
  const all = segments * events
  const changed = [all - 1, Math.floor(all / 2) - 1, 0, Math.floor(all / 3)].map((event) =>
    steadyNumber(event, records),
  )
  const others = Array.from({ length: PROBES - changed.length }, (_, i) => Math.floor((i + 0.5) * (records / PROBES)))
  return [...others, ...changed]
}

function isWhen(what: string): what is When {
  return Object.hasOwn(MOMENTS, what)
}

function requestsTo({ calls }: CountingStore): number {
  return Object.values(calls).reduce((sum, one) => sum + one, 0)
}

async function statusOf(tidemark: Tidemark): Promise<string> {
  const { segments } = await tidemark.status()
  return `${segments.count} segments with ${segments.events} events`
}

async function recordOf(view: View, number: number): Promise<string> {
  const record = await view.get(RESOURCE, steadyId(number))
  mustBe(record !== null, 'a record is there')
  return JSON.stringify(record)
}

if (import.meta.main) {
  const [, , as, what = '', place = ''] = process.argv
  const base = isQuick() ? QUICK : FULL
  const [segments, events] = [numberFlag('--segments', base.segments), numberFlag('--events', base.events)]
  const options = { ...base, segments, events, records: numberFlag('--records', base.records) }
  if (as === '--as') console.log(JSON.stringify(await answered(what, place, options)))
  else printRows(await run(options))
}
