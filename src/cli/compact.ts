import type { CompactReport } from '../engine/compaction.ts'
import { parseDuration } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, countText, pairs, plural } from './format.ts'
import { refusalLines } from './keeping-text.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark compact`. */
export interface CompactCommandOptions extends CommonOptions {
  readonly grace?: string
}

/** `tidemark compact`: merges segments into larger ones, and deletes what was replaced long enough ago. */
export async function compactCommand(options: CompactCommandOptions, around: Surroundings): Promise<number> {
  const grace = options.grace === undefined ? {} : { graceMs: parseDuration('--grace', options.grace) }
  return withStore(options, around, async (tidemark) => {
    const done = await tidemark.compact(grace)
    const lines = options.json
      ? [JSON.stringify(done)]
      : [...linesOf(done), `next: tidemark status${storeArgument(options)}`]
    await writeLines(around.terminal.out, lines)
    return EXIT_CODES[done.refused.length > 0 ? 'remains' : 'ok'][0]
  })
}

function linesOf({ merges, deleted, refused, isHeld, forgotten }: CompactReport): string[] {
  const sum = (of: 'replaced' | 'files' | 'events' | 'bytes'): number =>
    merges.reduce((total, merged) => total + merged[of], 0)
  const merged = `${plural(sum('replaced'), 'segment')} into ${sum('files')}, in ${plural(merges.length, 'step')}`
  const nothing = isHeld ? 'nothing: another process is at it' : 'nothing: there is nothing to gain'
  const lines = pairs([
    ['merged', merges.length === 0 ? nothing : merged],
    ...(merges.length === 0
      ? []
      : ([['written', `${countText(sum('events'))} events, ${bytesText(sum('bytes'))}`]] as const)),
    ['deleted', `${plural(deleted, 'file')} that were replaced earlier`],
    ...(forgotten === 0 ? [] : ([['generations', `${plural(forgotten, 'old one')} of the catalogue went`]] as const)),
  ])
  return [...lines, ...refusalLines(refused)]
}
