import type { Command } from 'commander'
import type { CommonOptions, Surroundings } from './command.ts'
import {
  type HoldCommandOptions,
  holdAddCommand,
  holdListCommand,
  holdRemoveCommand,
  type MarkCommandOptions,
  markCommand,
  markListCommand,
  markRemoveCommand,
} from './keep.ts'

/** Adds a subcommand. */
type Add = (program: Command, name: string, description: string) => Command

/** `tidemark mark` and `tidemark hold`. */
export function addKeeping(program: Command, around: Surroundings, add: Add): void {
  const mark = add(program, 'mark', 'give a moment a name, and keep it until the mark is removed')
    .argument('<name>', 'usable wherever a moment is')
    .option('--at <moment>', 'the moment; see tidemark --help', 'latest')
    .action((name: string, _, command: Command) =>
      markCommand(name, command.optsWithGlobals<MarkCommandOptions>(), around),
    )
  add(mark, 'list', 'every mark').action((_, command: Command) =>
    markListCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(mark, 'remove', 'remove a mark: its moment is kept no longer for it')
    .argument('<name>', 'of the mark')
    .action((name: string, _, command: Command) =>
      markRemoveCommand(name, command.optsWithGlobals<CommonOptions>(), around),
    )
  const hold = program.command('hold').description('moments that are kept, whatever the policy says')
  add(hold, 'add', 'keep a moment, or every moment of a range')
    .argument('<moment>', 'a moment or a mark, or two of them with two dots between')
    .requiredOption('--reason <text>', 'why: it is kept with the history')
    .option('--until <time>', 'when it ends by itself; default: when it is removed')
    .option('--name <who>', 'who asks for it')
    .action((what: string, _, command: Command) =>
      holdAddCommand(what, command.optsWithGlobals<HoldCommandOptions>(), around),
    )
  add(hold, 'list', 'every hold').action((_, command: Command) =>
    holdListCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(hold, 'remove', 'end a hold')
    .argument('<id>', 'as tidemark hold list shows it')
    .action((id: string, _, command: Command) =>
      holdRemoveCommand(id, command.optsWithGlobals<CommonOptions>(), around),
    )
}
