import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { S3db } from 's3db.js/lite'
import { createUsers, type Resource, user } from './application.ts'

/** Of the timer whose delay is measured. */
const TIMER_MS = 10

/** What an application does: it inserts records, then updates them, then does both by turns. */
export const PHASES = ['inserts', 'updates', 'mix'] as const
export type Phase = (typeof PHASES)[number]

/** One phase of one run of the application. */
export interface Measured {
  /** Writes a second. */
  readonly rate: number
  /** The 99th percentile of how late a timer fires, milliseconds: as long as the event loop was held. */
  readonly delay: number
  readonly longest: number
  /** Processor time of all threads, microseconds a write: says more than the rate where others use the machine. */
  readonly cpu: number
}

/** Each phase makes `writes` writes, by so many writers at once. Afterwards each of these records was written so often. */
export interface Run {
  readonly phases: Readonly<Record<Phase, Measured>>
  readonly written: ReadonlyMap<string, number>
}

/** Runs the application on an empty database. */
export async function runApplication(db: S3db, writes: number, writers: number): Promise<Run> {
  const users = await createUsers(db)
  const written = new Map<string, number>()
  const write = writerOf(users, writes / writers, written)
  const phase = (name: Phase): Promise<Measured> => measured(writes, writers, (lane, step) => write[name](lane, step))
  const phases = { inserts: await phase('inserts'), updates: await phase('updates'), mix: await phase('mix') }
  return { phases, written }
}

type Step = (lane: number, step: number) => Promise<unknown>

/** Every writer has records of its own: no write waits for another one's lock. */
function writerOf(users: Resource, each: number, written: Map<string, number>): Record<Phase, Step> {
  const insert = (number: number): Promise<unknown> => {
    const values = user(number)
    written.set(values.id, 1)
    return users.insert(values)
  }
  const update = (number: number, step: number): Promise<unknown> => {
    const values = user(number, step + 1)
    written.set(values.id, (written.get(values.id) ?? 0) + 1)
    return users.update(values.id, values)
  }
  const numberOf = (lane: number, step: number): number => lane * 2 * each + step
  return {
    inserts: (lane, step) => insert(numberOf(lane, step)),
    updates: (lane, step) => update(numberOf(lane, (step * 7919) % each), step),
    mix: (lane, step) =>
      step % 2 === 0
        ? insert(numberOf(lane, each + step))
        : update(numberOf(lane, (step * 104_729) % each), each + step),
  }
}

async function measured(writes: number, writers: number, step: Step): Promise<Measured> {
  const delay = monitorEventLoopDelay({ resolution: TIMER_MS })
  delay.enable()
  const before = process.cpuUsage()
  const start = performance.now()
  const lane = async (_: unknown, number: number): Promise<void> => {
    for (let i = 0; i < writes / writers; i++) await step(number, i)
  }
  await Promise.all(Array.from({ length: writers }, lane))
  const elapsed = performance.now() - start
  const { user: inUser, system } = process.cpuUsage(before)
  delay.disable()
  const cpu = (inUser + system) / writes
  // What is measured is how long a timer took, its own time with it.
  const late = (ns: number): number => Math.max(0, ns / 1e6 - TIMER_MS)
  return { cpu, rate: (writes / elapsed) * 1000, delay: late(delay.percentile(99)), longest: late(delay.max) }
}
