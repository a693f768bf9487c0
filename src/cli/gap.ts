import { parseRange } from './arguments.ts'
import { type CommonOptions, type Surroundings, withStore } from './command.ts'
import { painter, writeLines } from './terminal.ts'
import { gapLines } from './verdict-text.ts'

/** The options with which somebody says that events are gone. */
export interface SignedOptions extends CommonOptions {
  readonly reason: string
  readonly name: string
}

/** `tidemark gap list`: every gap of the history. */
export async function gapListCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const gaps = await tidemark.gaps()
    const lines = gaps.length === 0 ? ['no gaps: every event is there'] : gaps.flatMap(gapLines)
    await writeLines(around.terminal.out, options.json ? gaps.map((gap) => JSON.stringify(gap)) : lines)
  })
}

/** `tidemark gap acknowledge <stream> <first>-<last>`. Errors: `GAP_NOT_FOUND`. */
export async function acknowledgeCommand(
  stream: string,
  range: string,
  options: SignedOptions,
  around: Surroundings,
): Promise<void> {
  const { reason, name } = options
  const sequences = parseRange(range)
  await withStore(options, around, async (tidemark) => {
    const gaps = await tidemark.acknowledgeGap({ stream, ...sequences, reason, name })
    const lines = [...gaps.flatMap(gapLines), 'restores go on without these events, and say so']
    await writeLines(around.terminal.out, options.json ? gaps.map((gap) => JSON.stringify(gap)) : lines)
  })
}

/** `tidemark stream end <id>`. Errors: `STREAM_NOT_FOUND`, `STREAM_LIVE`. */
export async function endStreamCommand(stream: string, options: SignedOptions, around: Surroundings): Promise<void> {
  const { reason, name } = options
  await withStore(options, around, async (tidemark) => {
    const { terminal } = around
    const loss = await tidemark.endStream({ stream, reason, name })
    if (options.json) return writeLines(terminal.out, [JSON.stringify({ stream, loss })])
    const paint = painter(terminal.out, terminal)
    if (loss === null)
      return writeLines(terminal.out, [paint('green', `stream ${stream} is closed; nothing is missing`)])
    const found = (await tidemark.gaps()).filter((gap) => gap.stream === stream)
    await writeLines(terminal.out, [
      paint('yellow', `stream ${stream} is closed`),
      ...found.flatMap(gapLines),
      'later moments can be restored once a start of the application has taken a new baseline: start it, or restart it now',
    ])
  })
}
