import { TidemarkError } from '../base/errors.ts'
import type { EraseOptions, EraseResult } from '../engine/erasure.ts'
import { parseRecordName } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { confirmed } from './confirm.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, pairs, plural, printable } from './format.ts'
import { keepingLines } from './keeping-text.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark erase`. */
export interface EraseCommandOptions extends CommonOptions {
  readonly reason: string
  readonly name?: string
  readonly resource?: string
  /** As it was typed: the engine checks it. */
  readonly mode?: EraseOptions['mode']
  readonly dryRun?: boolean
  readonly yes?: boolean
}

/** `tidemark erase <resource>/<id> --reason <text>`: makes a deleted record unreadable in the whole history, for good. */
export async function eraseCommand(
  argument: string,
  options: EraseCommandOptions,
  around: Surroundings,
): Promise<number> {
  const { resource, id } = parseRecordName(argument, options.resource)
  const { terminal } = around
  const { reason, name, mode } = options
  const given = { reason, ...(name === undefined ? {} : { by: name }), ...(mode === undefined ? {} : { mode }) }
  return withStore(options, around, async (tidemark) => {
    const planned = await tidemark.erase(resource, id, { ...given, dryRun: true })
    if (options.dryRun !== true && options.yes !== true) {
      await writeLines(terminal.err, linesOf(planned))
      if (!(await confirmed('Erase it from the history, without a way back?', terminal))) throw confirmationNeeded()
    }
    const result = options.dryRun === true ? planned : await tidemark.erase(resource, id, given)
    await writeLines(terminal.out, options.json ? [JSON.stringify(result)] : linesOf(result, storeArgument(options)))
    const { entry, keeping } = result
    return EXIT_CODES[entry !== null && keeping.versions === 'kept' ? 'remains' : 'ok'][0]
  })
}

function linesOf(result: EraseResult, store = ''): string[] {
  const { mode, plan, entry, journals } = result
  const { segments, snapshots, bytes } = plan
  const files = `${plural(segments.length, 'segment')} and ${plural(snapshots.length, 'snapshot')}, ${bytesText(bytes)}`
  if (entry === null) {
    const planned = pairs([[mode === 'keys' ? 'to be made unreadable in' : 'to be written again', files]])
    if (segments.length + snapshots.length > 0) return [...planned, ...remainsLines(result)]
    // A write that was refused has left its intent there, and nothing else.
    return [
      ...planned,
      'No file of the store names this record: check the name. Only journals are left to look through.',
    ]
  }
  return [
    ...pairs([
      ['erased', `${plural(entry.events, 'event')}, and the record in ${plural(entry.snapshots, 'snapshot')}`],
      [mode === 'keys' ? 'unreadable in' : 'written again', files],
      ['journals', `${plural(journals?.rewritten.length ?? 0, 'journal')} of its writers rewritten on local disks`],
      ['left', `an entry in the ledger: ${entry.ulid}, ${entry.resource}, "${entry.reason}"`],
    ]),
    ...(journals?.left ?? []).flatMap(({ stream, host, path, why }) => [
      `NOT erased from the journal of stream ${stream} on ${printable(host)}${path === null ? '' : `, ${printable(path)}`}:`,
      `  ${printable(why)}`,
    ]),
    ...remainsLines(result),
    mode === 'keys'
      ? `next: tidemark verify${store}; copies of the store are unreadable too, copies of the keyring must go`
      : `next: tidemark verify${store}, and erase it from every copy of this store`,
  ]
}

/** What stays where it was, in spite of what the history says. */
function remainsLines({ mode, entry, keeping }: EraseResult): string[] {
  const what = mode === 'keys' ? 'of the keyrings with its key' : 'of the files with the record'
  const when = entry === null ? 'would NOT be gone' : 'is NOT gone'
  const isKept = keeping.versions === 'kept'
  return [
    ...(isKept
      ? [`The record ${when} from the place itself: older versions ${what} stay, for whoever may read them.`]
      : []),
    ...keepingLines(keeping),
  ]
}

function confirmationNeeded(): TidemarkError {
  return new TidemarkError('CONFIRMATION_NEEDED', 'An erasure cannot be undone. Nothing was erased.', {
    hint: 'Type the same command with --yes.',
  })
}
