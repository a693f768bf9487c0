import { upkeepOf } from '../engine/upkeep.ts'
import { type CommonOptions, type Surroundings, storeOf } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { pairs, plural } from './format.ts'
import { keepingLines, refusalLines } from './keeping-text.ts'
import { writeLines } from './terminal.ts'

/** `tidemark upkeep`: lets go what nobody needs any more; no moment and no head changes. */
export async function upkeepCommand(options: CommonOptions, around: Surroundings): Promise<number> {
  const { terminal } = around
  const report = await upkeepOf(await storeOf(options, around), terminal.environment)
  const { forgotten, deleted, refused, keeping } = report
  const lines = pairs([
    [
      'generations',
      forgotten === 0 ? 'none is old enough to go' : `${plural(forgotten, 'old one')} of the catalogue went`,
    ],
    ['deleted', plural(deleted, 'file')],
  ])
  lines.push(...refusalLines(refused), ...keepingLines(keeping))
  await writeLines(terminal.out, options.json ? [JSON.stringify(report)] : lines)
  return EXIT_CODES[refused.length > 0 ? 'remains' : 'ok'][0]
}
