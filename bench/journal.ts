import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { systemClock } from '../src/base/clock.ts'
import { openFileLog } from '../src/capture/file-log.ts'
import { Journal } from '../src/capture/journal.ts'
import { NodeDisk } from '../src/capture/node-disk.ts'
import { encodedEventBytes } from '../src/format/event-codec.ts'
import { makeImage } from '../src/format/make-image.ts'
import { type Change, changeBetween } from '../src/model/event.ts'
import { isQuick } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'

const RUNS = isQuick() ? 1 : 7
const RUN_MS = isQuick() ? 50 : 500
const EVENT_BYTES = 735
const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'

/** What one run measured. */
interface Measured {
  /** Durable events a second. */
  readonly rate: number
  /** Milliseconds from the call to the acknowledgement. */
  readonly p50: number
  readonly p99: number
  /** Longest time that the event loop was held, milliseconds. */
  readonly block: number
}

function event(): Change {
  const about = { kind: 'record', resource: 'orders', id: 'ord_00000001' } as const
  const context = { actor: 'user-17', transaction: '0123456789abcdef', metadata: null }
  const make = (fill: number): Change => {
    const image = (field: string) => makeImage({ id: about.id, field: field.repeat(fill) })
    const change = changeBetween(about, image('a'), image('b'), context)
    if (change === null) throw new Error('an update is a change')
    return change
  }
  return make(Math.floor((EVENT_BYTES - encodedEventBytes(make(0))) / 2))
}

/** Writers that each wait for their event before they write the next one. */
async function drive(writers: number, write: () => Promise<unknown>): Promise<Measured> {
  const times: number[] = []
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const start = performance.now()
  delay.enable()
  const writer = async (): Promise<void> => {
    for (let now = performance.now(); now - start < RUN_MS; ) {
      await write()
      const after = performance.now()
      times.push(after - now)
      now = after
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
  const elapsed = performance.now() - start
  delay.disable()
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  return { rate: (times.length / elapsed) * 1000, p50: at(0.5), p99: at(0.99), block: delay.max / 1e6 }
}

async function ours(directory: string, writers: number): Promise<Measured> {
  const home = await mkdtemp(join(directory, 'ours-'))
  const log = await openFileLog({ disk: new NodeDisk(), directory: home, stream: STREAM })
  const { journal } = await Journal.open({ log, stream: STREAM, clock: systemClock })
  const change = event()
  const measured = await drive(writers, () => journal.settle([{ intent: 0, change }]))
  await journal.close()
  await rm(home, { recursive: true })
  return measured
}

/**
 * What an application does without a journal: each event is written and synced by itself. In turn, as a log must
 * that is whole up to its last acknowledged entry; or all writers at once, where most syncs find nothing left to do.
 */
async function naive(directory: string, writers: number, inTurn: boolean): Promise<number> {
  const path = join(directory, 'naive')
  const file = await open(path, 'a', 0o600)
  const bytes = Buffer.alloc(EVENT_BYTES, 'x')
  let last: Promise<unknown> = Promise.resolve()
  const write = async (): Promise<void> => {
    await file.write(bytes)
    await file.datasync()
  }
  const { rate } = await drive(writers, () => {
    if (!inTurn) return write()
    last = last.then(write)
    return last
  })
  await file.close()
  await rm(path)
  return rate
}

/** The bare loop: what the disk gives to one who does nothing else. */
function bare(directory: string): number {
  const path = join(directory, 'bare')
  const file = openSync(path, 'a', 0o600)
  const bytes = Buffer.alloc(EVENT_BYTES, 'x')
  const start = performance.now()
  let count = 0
  for (; performance.now() - start < RUN_MS; count++) {
    writeSync(file, bytes)
    fdatasyncSync(file)
  }
  const rate = (count / (performance.now() - start)) * 1000
  closeSync(file)
  return rate
}

/** The journal against one sync per event, with 64 writers and with one; on the disk of the temporary directory. */
export async function run(): Promise<BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  const many: Measured[] = []
  const single: Measured[] = []
  const peerInTurn: number[] = []
  const peerAtOnce: number[] = []
  const peerSingle: number[] = []
  try {
    for (let i = 0; i < RUNS; i++) {
      many.push(await ours(directory, 64))
      peerInTurn.push(await naive(directory, 64, true))
      peerAtOnce.push(await naive(directory, 64, false))
      single.push(await ours(directory, 1))
      peerSingle.push(bare(directory))
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
  return [
    row('journal, 64 writers', many, peerInTurn, '>= 50x', 'peer: write and fdatasync per event, fs.promises, in turn'),
    row('journal, 64 writers', many, peerAtOnce, '-', 'peer: the same, 64 at once'),
    row('journal, 1 writer', single, peerSingle, '>= 0.6x', 'peer: bare writeSync and fdatasyncSync loop'),
  ]
}

function row(
  name: string,
  runs: readonly Measured[],
  peers: readonly number[],
  target: string,
  what: string,
): BenchRow {
  const ours = median(runs.map(({ rate }) => rate))
  const peer = median(peers)
  const of = (pick: (measured: Measured) => number): string => median(runs.map(pick)).toFixed(2)
  const longest = Math.max(...runs.map(({ block }) => block)).toFixed(1)
  const note = `${what}; ack p50 ${of((m) => m.p50)} ms, p99 ${of((m) => m.p99)} ms, loop held ${of((m) => m.block)} ms (longest ${longest})`
  return { name, ours, peer, unit: 'events/s', ratio: ours / peer, target, note }
}

if (import.meta.main) printRows(await run())
