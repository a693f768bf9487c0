import { TidemarkError } from '../base/errors.ts'
import type { Status } from '../engine/status.ts'
import { isPause } from '../model/hold.ts'
import { type CommonOptions, type Surroundings, withStore } from './command.ts'
import { printable, table, timeText } from './format.ts'
import { painter, writeLines } from './terminal.ts'

/** The options of `tidemark mark`. */
export interface MarkCommandOptions extends CommonOptions {
  readonly at: string
}

/** The options of `tidemark hold add`. */
export interface HoldCommandOptions extends CommonOptions {
  /** A time; absent: until it is removed. */
  readonly until?: string
  readonly reason: string
  readonly name?: string
}

/** `tidemark mark <name>`: gives a moment a name. */
export async function markCommand(name: string, options: MarkCommandOptions, around: Surroundings): Promise<void> {
  const { at, json } = options
  await withStore(options, around, async ({ retention }) => {
    const mark = await retention.mark(name, { at })
    const text = `mark ${name} is of ${timeText(mark.ulid)} (${mark.ulid}), which is kept until the mark is removed`
    await tell(around, json, mark, text)
  })
}

/** `tidemark mark list`. */
export async function markListCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const { marks } = await tidemark.status()
    const lines = marks.length === 0 ? ['no marks'] : markLines({ marks })
    await writeLines(around.terminal.out, options.json ? marks.map((mark) => JSON.stringify(mark)) : lines)
  })
}

/** `tidemark mark remove <name>`. */
export async function markRemoveCommand(name: string, options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async ({ retention }) => {
    await retention.unmark(name)
    await tell(around, options.json, { removed: name }, `mark ${name} is removed; its moment is kept no longer for it`)
  })
}

/** `tidemark hold add <moment>`, or `<from>..<to>`. */
export async function holdAddCommand(what: string, options: HoldCommandOptions, around: Surroundings): Promise<void> {
  const { until, reason, name, json } = options
  const given = {
    ...rangeOf(what),
    reason,
    ...(until === undefined ? {} : { until }),
    ...(name === undefined ? {} : { name }),
  }
  await withStore(options, around, async ({ retention }) => {
    const hold = await retention.hold(given)
    const to = hold.until === null ? 'it is removed' : timeText(hold.until)
    await tell(around, json, hold, `hold ${hold.id}: ${rangeText(hold)} is kept until ${to}`)
  })
}

/** `tidemark hold list`. */
export async function holdListCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const { holds } = await tidemark.status()
    const lines = holds.length === 0 ? ['no holds'] : holdLines({ holds })
    await writeLines(around.terminal.out, options.json ? holds.map((hold) => JSON.stringify(hold)) : lines)
  })
}

/** `tidemark hold remove <id>`. */
export async function holdRemoveCommand(id: string, options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async ({ retention }) => {
    await retention.release(id)
    await tell(around, options.json, { removed: id }, `hold ${id} is removed`)
  })
}

/** Every mark as a row. */
export function markLines({ marks }: Pick<Status, 'marks'>, indent = ''): string[] {
  return table(
    ['moment', 'mark', 'stamp'],
    marks.map(({ time, name, ulid }) => [time, name, ulid]),
    indent,
  )
}

/** Every hold as a row. */
export function holdLines({ holds }: Pick<Status, 'holds'>, indent = ''): string[] {
  const rows = holds.map((hold) => [
    rangeText(hold),
    hold.end ?? 'it is removed',
    hold.id,
    printable(hold.reason),
    printable(hold.by ?? ''),
  ])
  return table(['held', 'until', 'hold', 'reason', 'by'], rows, indent)
}

function rangeText({ from, through }: Status['holds'][number] | { from: string; through: string }): string {
  if (isPause({ from, through })) return 'everything: retention is paused'
  return from === through ? timeText(from) : `${timeText(from)} to ${timeText(through)}`
}

/** A moment, or two with two dots between them. */
function rangeOf(argument: string): { from: string; through?: string } {
  const [from = '', through, ...more] = argument.split('..')
  if (from !== '' && through !== '' && more.length === 0) return through === undefined ? { from } : { from, through }
  throw new TidemarkError(
    'OPTION_INVALID',
    `"${argument}" is no moment and no range of moments. Nothing was changed.`,
    {
      hint: 'Give a moment, or two with two dots between them: 2026-11-19T00:00:00Z..2026-11-20T00:00:00Z.',
    },
  )
}

async function tell(
  { terminal }: Surroundings,
  json: boolean | undefined,
  result: object,
  text: string,
): Promise<void> {
  const paint = painter(terminal.out, terminal)
  await writeLines(terminal.out, [json ? JSON.stringify(result) : paint('green', text)])
}
