import { Command, Option } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import type { DatabaseAdapter } from './adapter.ts'
import type { CommonOptions, Surroundings } from './command.ts'
import { type CompactCommandOptions, compactCommand } from './compact.ts'
import { type DecryptCommandOptions, decryptCommand } from './decrypt.ts'
import { type DemoOptions, demoCommand } from './demo/command.ts'
import type { DemoParts } from './demo/seam.ts'
import { type DrillCommandOptions, drillCommand } from './drill.ts'
import { type EraseCommandOptions, eraseCommand } from './erase.ts'
import { EXIT_CODES, exitCodeHelp } from './exit-codes.ts'
import { reportFailure, usageError } from './failure.ts'
import { acknowledgeCommand, endStreamCommand, gapListCommand, type SignedOptions } from './gap.ts'
import { headCommand } from './head.ts'
import { addKeeping } from './keep-commands.ts'
import { keyAddCommand, keyListCommand, keyRemoveCommand, keyRotateCommand } from './key.ts'
import { type LogOptions, logCommand } from './log.ts'
import { type ReconcileCommandOptions, reconcileCommand } from './reconcile.ts'
import { type RepairCommandOptions, repairCommand } from './repair.ts'
import { restoreCommand } from './restore.ts'
import type { RestoreCommandOptions } from './restore-options.ts'
import { type ShowOptions, showCommand } from './show.ts'
import { type SnapshotCommandOptions, snapshotCommand } from './snapshot.ts'
import { type StatusOptions, statusCommand } from './status.ts'
import type { StoreOpener } from './stores.ts'
import type { Terminal } from './terminal.ts'
import { upkeepCommand } from './upkeep.ts'
import { type VerifyCommandOptions, verifyCommand } from './verify.ts'

const MOMENTS = `Moments: a time with its zone (2026-11-19T02:46:59.123Z, inclusive), epoch milliseconds, the ULID of an
event (inclusive), before:<ulid> (just before it), the name of a mark, or latest.`

const OUTPUT = `Data goes to stdout. Progress (on a terminal), questions and errors go to stderr; with --json an error is one line
there: {"error":{"code","category","status","message","hint","details","exitCode"}}.

An encrypted store opens with TIDEMARK_PASSPHRASE or TIDEMARK_KEY (32 bytes as base64 or hex), or a file that
TIDEMARK_PASSPHRASE_FILE or TIDEMARK_KEY_FILE names.`

const AT = 'the moment; see tidemark --help'
const RESOURCE_OF = 'name of the resource, where it has a slash; the argument is then the id alone'

/** What the command line is made of. */
export interface ProgramParts {
  readonly terminal: Terminal
  readonly adapter: DatabaseAdapter
  readonly stores: StoreOpener
  readonly demo: DemoParts
  readonly version: string
}

/** Runs one command line, without the names of node and the script. Returns the exit code; never throws. */
export async function runProgram(
  argv: readonly string[],
  { terminal, adapter, stores, demo, version }: ProgramParts,
): Promise<number> {
  let exitCode: number = EXIT_CODES.ok[0]
  const program = programOf({ terminal, adapter, stores }, version, (code) => {
    exitCode = code
  })
  addDemo(program, demo, terminal)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    if (isHelp(error)) return EXIT_CODES.ok[0]
    return reportFailure(error, terminal, argv.includes('--json'))
  }
}

function programOf(around: Surroundings, version: string, exit: (code: number) => void): Command {
  const { out } = around.terminal
  const program = new Command('tidemark')
    .description('Continuous backup and point-in-time recovery for document databases.')
    .version(version)
    .exitOverride()
    // Without a command the help is what was asked for. Errors are told by `reportFailure`.
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => out.write(text),
      outputError: () => {},
    })
    .option('--store <url>', 'file:./dir, s3://bucket/prefix?endpoint=..&region=.. or a path; else TIDEMARK_STORE')
    .option('--store-adapter <module>', STORE_ADAPTER)
    .option('--json', 'one line of JSON per result')
    .addHelpText('after', `\n${MOMENTS}\n\n${OUTPUT}\n\n${exitCodeHelp()}`)

  add(program, 'status', 'what the store holds and which moments are reachable; changes nothing without --at')
    .option('--at <moment>', 'whether this moment can be restored, asked as a restore asks; see tidemark --help')
    .option('--fail-on-gap', 'exit with 7 where events are missing that nobody has acknowledged')
    .option('--fail-on-lag <duration>', 'exit with 8 where an event waits longer for the store (90s, 5m, 1h)')
    .action(async (_, command: Command) => exit(await statusCommand(command.optsWithGlobals<StatusOptions>(), around)))
  add(program, 'log', 'every event of a record: when, who, what changed')
    .argument('<resource/id>', 'the record, split at the first slash')
    .option('--resource <name>', RESOURCE_OF)
    .action((name: string, _, command: Command) => logCommand(name, command.optsWithGlobals<LogOptions>(), around))
  add(program, 'show', 'a record as it was at a moment')
    .argument('<resource/id>', 'the record, split at the first slash')
    .option('--at <moment>', AT, 'latest')
    .option('--resource <name>', RESOURCE_OF)
    .option('--memory <MiB>', MEMORY)
    .action((name: string, _, command: Command) => showCommand(name, command.optsWithGlobals<ShowOptions>(), around))
  add(program, 'snapshot', 'make a snapshot from the one before and the events since, without touching the database')
    .option('--at <moment>', 'the moment that it is of; default: the last that can be restored now')
    .option('--memory <MiB>', MEMORY)
    .action((_, command: Command) => snapshotCommand(command.optsWithGlobals<SnapshotCommandOptions>(), around))
  addRestore(program, around)
  addGaps(program, around)
  addKeeping(program, around, add, exit)
  addReconcile(program).action(async (_, command: Command) =>
    exit(await reconcileCommand(command.optsWithGlobals<ReconcileCommandOptions>(), around)),
  )
  addErase(program, around, exit)
  add(program, 'verify', 'read and check every file of the store')
    .option('--memory <MiB>', MEMORY)
    .option('--head <head>', 'what `tidemark head` printed earlier: the history must still go on from it')
    .action(async (_, command: Command) =>
      exit(await verifyCommand(command.optsWithGlobals<VerifyCommandOptions>(), around)),
    )
  add(program, 'repair', 'make a damaged catalogue again from the files of the store; shows what it would do')
    .option('--apply', 'do it: what is damaged stays where it is, and nothing is deleted')
    .action(async (_, command: Command) =>
      exit(await repairCommand(command.optsWithGlobals<RepairCommandOptions>(), around)),
    )
  add(program, 'drill', 'restore moments for real into scratch space, and prove that they are what the events say')
    .option('--at <moment>', 'the moment, or random: any that can be restored', 'random')
    .option('--count <n>', 'how many drills (default: 1)')
    .option('--seed <n>', 'of the random moments: the same seed and history give the same ones')
    .option('--memory <MiB>', MEMORY)
    .action(async (_, command: Command) =>
      exit(await drillCommand(command.optsWithGlobals<DrillCommandOptions>(), around)),
    )
  add(program, 'compact', 'merge segments into larger ones; no moment, no head and no event changes')
    .option('--grace <duration>', 'how long replaced files stay for those who read them (90s, 5m, 1h; default: 1h)')
    .option('--memory <MiB>', MEMORY)
    .action(async (_, command: Command) =>
      exit(await compactCommand(command.optsWithGlobals<CompactCommandOptions>(), around)),
    )
  add(program, 'upkeep', 'let go what nobody needs any more; no moment and no head changes').action(
    async (_, command: Command) => exit(await upkeepCommand(command.optsWithGlobals<CommonOptions>(), around)),
  )
  add(program, 'head', 'what to note elsewhere, so that a history that was cut back or rewritten is seen').action(
    (_, command: Command) => headCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  addKey(program, around)
  add(program, 'decrypt', 'write an encrypted store as one without encryption, for other tools')
    .requiredOption('--target <dir>', 'an empty or a new directory')
    .action((_, command: Command) => decryptCommand(command.optsWithGlobals<DecryptCommandOptions>(), around))
  return program
}

const ADAPTER = 'the module that opens this kind of database; else TIDEMARK_ADAPTER, or tidemark-adapter-<scheme>'
const STORE_ADAPTER = 'what opens stores of another kind; else TIDEMARK_STORE_ADAPTER, or tidemark-adapter-<scheme>'
const MEMORY = 'memory that replay may use (default: 128)'

function addRestore(program: Command, around: Surroundings): void {
  add(program, 'restore', 'bring a directory or a database to the state of a moment')
    .requiredOption('--to <moment>', AT)
    .requiredOption(
      '--target <target>',
      'a directory (file:./recovered or a path) or a connection string (scheme://..)',
    )
    .option('--resource <name...>', 'only these resources')
    .option('--id <id...>', 'only these records of the resources')
    .option('--dry-run', 'print the plan and the preview; write nothing')
    .option('--full', 'print every difference before anything is written, not the first of each resource alone')
    .option('--yes', 'allow a target that holds data; needed for the live database')
    .addOption(
      new Option('--on-conflict <what>', 'what others write to the live database meanwhile; default: keep').choices([
        'keep',
        'overwrite',
      ]),
    )
    .option('--adapter <module>', ADAPTER)
    .option('--map-schema', 'with --id: translate by attribute name where the target has another schema')
    .option('--in-place', 'the target is the database of this history, although the store knows it by another name')
    .option('--journal <dir>', 'where the capture of a restore in place keeps its journal (default: .tidemark)')
    .option('--memory <MiB>', MEMORY)
    .action((_, command: Command) => restoreCommand(command.optsWithGlobals<RestoreCommandOptions>(), around))
}

const REASON = 'why the events are gone: it is kept with the history'
const NAME = 'who says so'

function addGaps(program: Command, around: Surroundings): void {
  const gap = program.command('gap').description('events that are missing, and who knows of it')
  add(gap, 'list', 'every gap of the history').action((_, command: Command) =>
    gapListCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(gap, 'acknowledge', 'let restores go on without the events of a gap')
    .argument('<stream>', 'as tidemark gap list shows it')
    .argument('<first-last>', 'the sequences, such as 11-20, or 31- where nobody knows the end')
    .requiredOption('--reason <text>', REASON)
    .requiredOption('--name <who>', NAME)
    .action((stream: string, range: string, _, command: Command) =>
      acknowledgeCommand(stream, range, command.optsWithGlobals<SignedOptions>(), around),
    )
  const stream = program.command('stream').description('the series of events that each process writes')
  add(stream, 'end', 'end the stream of a process that will never come back; what nobody can bring in is a gap then')
    .argument('<stream>', 'as tidemark status shows it')
    .requiredOption('--reason <text>', REASON)
    .requiredOption('--name <who>', NAME)
    .action((id: string, _, command: Command) => endStreamCommand(id, command.optsWithGlobals<SignedOptions>(), around))
}

function addReconcile(program: Command): Command {
  return add(program, 'reconcile', 'find the writes that were not captured, by comparing the database with its history')
    .requiredOption('--source <connection string>', 'the live database (scheme://..)')
    .option('--adapter <module>', ADAPTER)
    .option('--record', 'make an event of each, marked as found')
    .option('--resource <name...>', 'only these resources')
    .option('--yes', 'record although the store knows the database by another name')
    .option('--journal <dir>', 'where --record keeps its journal (default: .tidemark)')
    .option('--memory <MiB>', MEMORY)
}

function addErase(program: Command, around: Surroundings, exit: (code: number) => void): void {
  add(program, 'erase', 'make a deleted record unreadable in the whole history, for good')
    .argument('<resource/id>', 'the record, split at the first slash')
    .requiredOption('--reason <text>', 'for the ledger, which keeps it for ever: no personal data')
    .option('--name <who>', 'who asks, for the ledger')
    .option('--resource <name>', RESOURCE_OF)
    .option(
      '--mode <mode>',
      'keys: destroy the key of the record (default where the store has record keys); rewritten: write every file again',
    )
    .option('--dry-run', 'print which files hold the record; change nothing')
    .option('--yes', 'do it without asking')
    .option('--memory <MiB>', MEMORY)
    .action(async (name: string, _, command: Command) =>
      exit(await eraseCommand(name, command.optsWithGlobals<EraseCommandOptions>(), around)),
    )
}

const NEW_SECRET = 'TIDEMARK_NEW_PASSPHRASE or TIDEMARK_NEW_KEY (each also _FILE)'

function addKey(program: Command, around: Surroundings): void {
  const key = program.command('key').description('the keys that open an encrypted store')
  add(key, 'list', 'every key: its id, kind and age').action((_, command: Command) =>
    keyListCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(key, 'add', `one more key, from ${NEW_SECRET}`).action((_, command: Command) =>
    keyAddCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(key, 'rotate', `replace the secret that is set now by ${NEW_SECRET}; no file is rewritten`).action(
    (_, command: Command) => keyRotateCommand(command.optsWithGlobals<CommonOptions>(), around),
  )
  add(key, 'remove', 'remove a key; never the last one')
    .argument('<id>', 'of the key')
    .action((id: string, _, command: Command) => keyRemoveCommand(id, command.optsWithGlobals<CommonOptions>(), around))
}

function addDemo(program: Command, parts: DemoParts, terminal: Terminal): void {
  program
    .command('demo')
    .description('see a database spoilt and restored, on real data; from a checkout, in under a minute')
    .allowExcessArguments(false)
    .option('--dir <dir>', 'where its store is left', '.demo')
    .option('--records <n>', 'how many records', '30000')
    .option('--json', 'one line of JSON at the end')
    .action((_, command: Command) => demoCommand(command.optsWithGlobals<DemoOptions>(), parts, terminal))
}

/** A subcommand takes the global options behind its name too. */
function add(program: Command, name: string, description: string): Command {
  const command = program
    .command(name)
    .description(description)
    .allowExcessArguments(false)
    .option('--store <url>', 'where the history is; else TIDEMARK_STORE')
    .option('--store-adapter <module>', STORE_ADAPTER)
    .option('--json', 'one line of JSON per result')
  return command.exitOverride((error) => {
    if (isHelp(error)) throw error
    const isMissing = /^commander\.missing(Argument|MandatoryOptionValue)$/.test(error.code)
    throw isMissing ? missing(command) : usageError(error, pathOf(command))
  })
}

/** Everything that a command still needs, at once. */
function missing(command: Command): TidemarkError {
  const words = command.registeredArguments.slice(command.args.length).map((argument) => `<${argument.name()}>`)
  const given = command.opts<Readonly<Record<string, unknown>>>()
  const options = command.options.filter((option) => option.mandatory && given[option.attributeName()] === undefined)
  const needs = [...words, ...options.map(({ flags }) => flags)].join(' and ')
  const path = pathOf(command)
  return new TidemarkError('OPTION_INVALID', `tidemark ${path} needs ${needs}. Nothing was done.`, {
    hint: `See tidemark ${path} --help.`,
  })
}

function pathOf(command: Command): string {
  return command.parent?.parent == null ? command.name() : `${command.parent.name()} ${command.name()}`
}

function isHelp(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'commander.helpDisplayed' || code === 'commander.help' || code === 'commander.version'
}
