import type { CompactReport } from '../engine/compaction.ts'
import { parseDuration } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { bytesText, countText, pairs, plural } from './format.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark compact`. */
export interface CompactCommandOptions extends CommonOptions {
  readonly grace?: string
}

/** `tidemark compact`: merges segments into larger ones, and deletes what was replaced long enough ago. */
export async function compactCommand(options: CompactCommandOptions, around: Surroundings): Promise<void> {
  const grace = options.grace === undefined ? {} : { graceMs: parseDuration('--grace', options.grace) }
  await withStore(options, around, async (tidemark) => {
    const done = await tidemark.compact(grace)
    const lines = options.json
      ? [JSON.stringify(done)]
      : [...linesOf(done), `next: tidemark status${storeArgument(options)}`]
    await writeLines(around.terminal.out, lines)
  })
}

function linesOf({ merges, deleted, isHeld, forgotten }: CompactReport): string[] {
  const sum = (of: 'replaced' | 'files' | 'events' | 'bytes'): number =>
    merges.reduce((total, merged) => total + merged[of], 0)
  const merged = `${plural(sum('replaced'), 'segment')} into ${sum('files')}, in ${plural(merges.length, 'step')}`
  const nothing = isHeld ? 'nothing: another process is at it' : 'nothing: there is nothing to gain'
  return pairs([
    ['merged', merges.length === 0 ? nothing : merged],
    ...(merges.length === 0
      ? []
      : ([['written', `${countText(sum('events'))} events, ${bytesText(sum('bytes'))}`]] as const)),
    ['deleted', `${plural(deleted, 'file')} that were replaced earlier`],
    ...(forgotten === 0 ? [] : ([['generations', `${plural(forgotten, 'old one')} of the catalogue went`]] as const)),
  ])
}
