import type { KnownGap } from '../model/gap.ts'
import type { Verdict } from '../restore/verdict.ts'
import { printable, timeText } from './format.ts'
import type { Paint } from './terminal.ts'

/** The verdict on a moment, for people. */
export function verdictLines({ verdict, moment, gaps, reason, nearest }: Verdict, paint: Paint): string[] {
  const when = moment.label === moment.time || moment.time === null ? moment.label : `${moment.label} (${moment.time})`
  const lines = [`${VERDICTS[verdict](paint, gaps)}: ${printable(when)}`]
  if (reason !== null) lines.push(`  because: ${printable(reason.message)}`, `  next: ${printable(reason.hint)}`)
  for (const gap of gaps) lines.push(...gapLines(gap))
  if (verdict !== 'yes') {
    lines.push(
      `  reachable whole, before it: ${nearest.before ?? 'nothing'}; after it: ${nearest.after ?? 'nothing yet'}`,
    )
  }
  return lines
}

const VERDICTS = {
  yes: (paint: Paint): string => paint('green', 'yes'),
  except: (paint: Paint, gaps: readonly KnownGap[]): string =>
    gaps.every(({ acknowledged }) => acknowledged !== null)
      ? paint('yellow', 'yes, except for what is missing')
      : paint('red', 'yes, except for what is missing, once that is acknowledged'),
  no: (paint: Paint): string => paint('red', 'no'),
}

/** A gap, who knows of it, and what to type where nobody does. */
export function gapLines({
  stream,
  firstSequence,
  lastSequence,
  afterUlid,
  beforeUlid,
  acknowledged,
}: KnownGap): string[] {
  const what =
    lastSequence === null
      ? `events from ${firstSequence} on, nobody knows how many,`
      : `events ${firstSequence} to ${lastSequence}`
  const head = `  ${what} of stream ${stream}, between ${timeText(afterUlid)} and ${timeText(beforeUlid)}`
  return [
    head,
    acknowledged === null
      ? `    not acknowledged: tidemark gap acknowledge ${stream} ${firstSequence}-${lastSequence ?? ''} --reason <why> --name <who>`
      : `    acknowledged by ${printable(acknowledged.by)}: ${printable(acknowledged.reason)}`,
  ]
}
