import { TidemarkError } from '../base/errors.ts'
import type { PruneOptions, PruneReport } from '../engine/prune.ts'
import { type CommonOptions, type Surroundings, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, plural, table, timeText } from './format.ts'
import { keepingLines, refusalLines } from './keeping-text.ts'
import { type Paint, painter, writeLines } from './terminal.ts'

/** The options of `tidemark prune`, as commander reads them: all numbers are texts. */
export interface PruneCommandOptions extends CommonOptions, Calendar {
  readonly window?: string
  readonly count?: string
  readonly maxAge?: string
  readonly grace?: string
  readonly confirm?: boolean
}

/** The calendar of a policy. */
interface Calendar {
  readonly hourly?: string
  readonly daily?: string
  readonly weekly?: string
  readonly monthly?: string
  readonly yearly?: string
  readonly timeZone?: string
}

type Policy = PruneOptions['policy']

const CALENDAR = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const
/** Of what goes and of the ranges; `--json` has all. */
const MOST_SHOWN = 20

/**
 * `tidemark prune`: which moments become unreachable, which files go, and how many bytes; with `--confirm` it is done. The
 * exit code tells of damage.
 */
export async function pruneCommand(options: PruneCommandOptions, around: Surroundings): Promise<number> {
  const { grace, confirm = false } = options
  const policy = policyOf(options)
  return withStore(options, around, async ({ retention }) => {
    const { terminal } = around
    const report = await retention.prune({ policy, confirm, ...(grace === undefined ? {} : { grace }) })
    const paint = painter(terminal.out, terminal)
    const lines = options.json
      ? [JSON.stringify(jsonOf(report))]
      : [...planLines(report), ...endLines(report, paint), ...keepingLines(report.keeping)]
    await writeLines(terminal.out, lines)
    const { damage, swept } = report
    const isRefused = swept !== null && swept.refused.length > 0
    return EXIT_CODES[damage.length > 0 ? 'damaged' : isRefused ? 'remains' : 'ok'][0]
  })
}

function policyOf(options: PruneCommandOptions): Policy {
  const { window, maxAge, count, timeZone } = options
  const tiers = CALENDAR.flatMap((tier) => {
    const given = options[tier]
    return given === undefined ? [] : [[tier, wholeOf(`--${tier}`, given)] as const]
  })
  if (tiers.length === 0 && window === undefined && count === undefined && maxAge === undefined) throw noPolicy()
  const calendar = { ...Object.fromEntries(tiers), ...(timeZone === undefined ? {} : { timeZone }) }
  return {
    ...(window === undefined ? {} : { window }),
    ...(Object.keys(calendar).length === 0 ? {} : { gfs: calendar }),
    ...(count === undefined ? {} : { count: wholeOf('--count', count) }),
    ...(maxAge === undefined ? {} : { maxAge }),
  }
}

function noPolicy(): TidemarkError {
  const options = ['--window', '--count', '--max-age', ...CALENDAR.map((tier) => `--${tier}`)].join(', ')
  return new TidemarkError(
    'OPTION_INVALID',
    'tidemark prune was not told what has to stay. Nothing was read or changed.',
    {
      hint: `Say it with one or more of ${options}; without --confirm it only shows what would go: tidemark prune --window 30d`,
    },
  )
}

function wholeOf(option: string, argument: string): number {
  if (/^[1-9]\d{0,8}$/.test(argument)) return Number(argument)
  throw new TidemarkError('OPTION_INVALID', `${option} ${argument} is no number of snapshots. Nothing was read.`, {
    hint: `Give a whole number from 1, such as ${option} 7.`,
  })
}

function jsonOf({ plan, damage, swept, keeping }: PruneReport): object {
  return {
    unreachable: plan.unreachable.map(({ from, through }) => ({ from: timeText(from), to: timeText(through) })),
    snapshots: plan.snapshots.map(({ prefix, bytes }) => ({ key: prefix, bytes })),
    segments: plan.segments.map(({ key, bytes }) => ({ key, bytes })),
    bytes: plan.bytes,
    kept: plan.kept.map(({ snapshot: { ulid }, why }) => ({ snapshot: ulid, time: timeText(ulid), why })),
    damage,
    swept,
    keeping,
  }
}

function planLines({ plan }: PruneReport): string[] {
  const { unreachable, snapshots, segments, kept, bytes } = plan
  const stay = kept.map(({ snapshot, why }) => [timeText(snapshot.consistentFrom), snapshot.ulid, why.join(', ')])
  const lines = [...table(['snapshot stays', 'stamp', 'why'], stay), '']
  if (snapshots.length + segments.length === 0) return [...lines, 'nothing goes: all of it is needed']
  const ranges = unreachable.map(({ from, through }) => `  ${timeText(from)} to ${timeText(through)}`)
  const files = [...snapshots.map(({ prefix }) => prefix), ...segments.map(({ key }) => key)].map((key) => `  ${key}`)
  return [
    ...lines,
    'moments that become unreachable',
    ...(ranges.length === 0 ? ['  none'] : shortList(ranges)),
    '',
    `${plural(snapshots.length, 'snapshot')} and ${plural(segments.length, 'segment')} go, ${bytesText(bytes)}`,
    ...shortList(files),
  ]
}

function endLines({ plan, damage, swept }: PruneReport, paint: Paint): string[] {
  const isEmpty = plan.snapshots.length + plan.segments.length === 0
  if (swept === null)
    return isEmpty ? [] : ['', paint('yellow', 'nothing was changed; to do it: the same command with --confirm')]
  const { files, bytes, refused, waiting } = swept
  return [
    ...damage.map(
      ({ key, message }) => `${paint('red', 'damaged')}: ${key}, and what it would replace stays: ${message}`,
    ),
    ...(isEmpty ? [] : ['', paint('green', 'taken out of the history; nobody can restore these moments any more')]),
    ...(files === 0 ? [] : [`deleted: ${plural(files, 'file')} that earlier runs took out, ${bytesText(bytes)}`]),
    ...refusalLines(refused).map((line) => paint('yellow', line)),
    ...(waiting.entries === 0
      ? []
      : [`${bytesText(waiting.bytes)} wait until nobody can be reading them, and go in a later run with --confirm`]),
    ...(waiting.anew === 0
      ? []
      : [
          `${paint('yellow', 'clocks disagree')}: ${plural(waiting.anew, 'file')} that wait were looked at before by a clock that is ahead of this one, and wait anew; nothing is lost. Look at the clocks of the machines that prune`,
        ]),
  ]
}

function shortList(lines: readonly string[]): string[] {
  const more = lines.length - MOST_SHOWN
  return more <= 0 ? [...lines] : [...lines.slice(0, MOST_SHOWN), `  and ${more} more (--json has all)`]
}
