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
import { type PruneCommandOptions, pruneCommand } from './prune.ts'

/** Adds a subcommand. */
type Add = (program: Command, name: string, description: string) => Command

/** `tidemark prune`, `tidemark mark` and `tidemark hold`; `exit` takes the exit code of a command. */
export function addKeeping(program: Command, around: Surroundings, add: Add, exit: (code: number) => void): void {
  add(program, 'prune', 'show what a policy does not promise: moments, files and bytes; with --confirm it goes')
    .option('--window <duration>', 'every moment of the last so long before the newest event (36h, 30d)')
    .option('--hourly <n>', 'the last snapshot of each of so many hours that have one')
    .option('--daily <n>', 'the same of days')
    .option('--weekly <n>', 'of weeks, from Monday')
    .option('--monthly <n>', 'of months')
    .option('--yearly <n>', 'of years')
    .option('--time-zone <name>', 'of the calendar, such as Europe/Berlin (default: UTC)')
    .option('--count <n>', 'the last so many snapshots')
    .option('--max-age <duration>', 'the snapshots that are not older')
    .option('--grace <duration>', 'how long files stay for those who are reading them (default: 24h)')
    .option('--confirm', 'do it: the moments can never be restored again')
    .action(async (_, command: Command) =>
      exit(await pruneCommand(command.optsWithGlobals<PruneCommandOptions>(), around)),
    )
  addMarks(program, around, add)
  addHolds(program, around, add)
}

function addMarks(program: Command, around: Surroundings, add: Add): void {
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
}

function addHolds(program: Command, around: Surroundings, add: Add): void {
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
