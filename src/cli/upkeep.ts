import { upkeepOf } from '../engine/upkeep.ts'
import { type CommonOptions, type Surroundings, storeOf } from './command.ts'
import { pairs, plural } from './format.ts'
import { writeLines } from './terminal.ts'

/** `tidemark upkeep`: lets go what nobody needs any more; no moment and no head changes. */
export async function upkeepCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  const { terminal } = around
  const report = await upkeepOf(await storeOf(options, around), terminal.environment)
  const { forgotten, deleted } = report
  const lines = pairs([
    [
      'generations',
      forgotten === 0 ? 'none is old enough to go' : `${plural(forgotten, 'old one')} of the catalogue went`,
    ],
    ['deleted', plural(deleted, 'file')],
  ])
  await writeLines(terminal.out, options.json ? [JSON.stringify(report)] : lines)
}
