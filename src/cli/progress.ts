import cliProgress from 'cli-progress'
import { type Clock, systemClock } from '../base/clock.ts'
import { bytesText, countText, durationText } from './format.ts'
import type { Terminal } from './terminal.ts'

/** How far something has come; a total of 0 is not known. */
export interface Advance {
  readonly rows: number
  readonly totalRows: number
  readonly bytes: number
}

/** A line on stderr that tells how far something has come, and goes away at the end. */
export interface ProgressLine {
  show(advance: Advance): void
  stop(): void
}

const SILENT: ProgressLine = { show: () => {}, stop: () => {} }
const FORMAT = '{bar} {percentage}%  {text}'

/** Progress for a terminal: rows, bytes, rate and time left. Nothing at all where stderr is none. */
export function progressLine({ err }: Terminal, noun: string, clock: Clock = systemClock): ProgressLine {
  if (err.isTTY !== true) return SILENT
  const bar = new cliProgress.SingleBar(
    { format: FORMAT, stream: err, clearOnComplete: true, hideCursor: true, barsize: 20, fps: 8, linewrap: null },
    cliProgress.Presets.shades_classic,
  )
  const startedAt = clock.now()
  let started = false
  return {
    show: (advance) => {
      const text = advanceText(advance, clock.now() - startedAt, noun)
      // A plan counts what passes through the merge, of which the result may be less: never more than all of it.
      const done = Math.min(advance.rows, advance.totalRows)
      if (!started) bar.start(Math.max(1, advance.totalRows), done, { text })
      else bar.update(done, { text })
      started = true
    },
    stop: () => {
      if (started) bar.stop()
    },
  }
}

/** `12,000 of 30,000 rows, 4.5 MiB, 6,000 rows/s, 3.0 s left`. */
export function advanceText({ rows, totalRows, bytes }: Advance, elapsedMs: number, noun: string): string {
  const rate = elapsedMs > 0 ? rows / (elapsedMs / 1000) : 0
  const left = rate > 0 && totalRows > rows ? `, ${durationText(((totalRows - rows) / rate) * 1000)} left` : ''
  const of = totalRows > 0 ? ` of ${countText(totalRows)}` : ''
  return `${countText(rows)}${of} ${noun}, ${bytesText(bytes)}, ${countText(Math.round(rate))} ${noun}/s${left}`
}
