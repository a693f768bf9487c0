import { TidemarkError } from '../base/errors.ts'
import type { ReconcileOptions } from '../engine/reconcile.ts'
import { isSameDatabase } from '../engine/same-place.ts'
import type { Tidemark } from '../engine/tidemark.ts'
import type { Image } from '../model/event.ts'
import { type Finding, findingKind } from '../model/found.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'
import type { OpenDatabase } from './adapter.ts'
import { parseMemory } from './arguments.ts'
import { adapterOf, type CommonOptions, type Surroundings, storeArgument, storeOf, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { changedFields, fieldText } from './fields.ts'
import { countText, pairs, plural, printable, timeText } from './format.ts'
import { type Paint, painter, writeLines } from './terminal.ts'

/** The options of `tidemark reconcile`. */
export interface ReconcileCommandOptions extends CommonOptions {
  readonly source: string
  readonly record?: boolean
  readonly resource?: readonly string[]
  readonly yes?: boolean
  readonly journal?: string
  readonly adapter?: string
}

/**
 * `tidemark reconcile`: every difference between the live database and its history, a line each, then the counts. The
 * exit code says whether any was found. Errors: `CONFIRMATION_NEEDED` where it is to record and the store knows the
 * database by another name.
 */
export async function reconcileCommand(options: ReconcileCommandOptions, around: Surroundings): Promise<number> {
  const { terminal, adapter } = around
  if (!adapter.handles(options.source)) throw noDatabase(options.source)
  return withStore(options, around, async (tidemark) => {
    const database = await adapter.open(options.source, adapterOf(options))
    try {
      const { database: known } = await tidemark.status()
      const isOther = !isSameDatabase(database.identity, known)
      if (isOther && options.record === true && options.yes !== true) throw otherName(known, database.identity)
      // The database of this history may have been emptied: then everything in it was removed.
      if (isOther && database.isEmpty) throw nothingThere(database.identity, known)
      const compare = await comparison(tidemark, database, known, options, around)
      const paint = painter(terminal.out, terminal)
      const result = await compare({
        ...(options.resource === undefined ? {} : { resources: options.resource }),
        onFinding: (finding) =>
          writeLines(terminal.out, options.json === true ? [jsonOf(finding)] : findingLines(finding, paint)),
      })
      const lines = options.json === true ? [JSON.stringify(result)] : resultLines(result, options, paint)
      await writeLines(terminal.out, lines)
      return exitCodeOf(result)
    } finally {
      await database.close()
    }
  })
}

type Compare = (options: Omit<ReconcileOptions, 'source' | 'record'>) => Promise<Reconciliation>

/** To record, the database has to be captured, by its name in the store; to look, it has not. */
async function comparison(
  tidemark: Tidemark,
  live: OpenDatabase,
  name: string,
  options: ReconcileCommandOptions,
  around: Surroundings,
): Promise<Compare> {
  if (options.record !== true) return (given) => tidemark.reconcile({ ...given, source: live.source })
  const memory = parseMemory(options.memory)
  const captured = await live.capture({
    store: await storeOf(options, around),
    database: name,
    ...(options.journal === undefined ? {} : { journal: options.journal }),
    ...(memory === undefined ? {} : { memory }),
  })
  return (given) => captured.reconcile({ ...given, record: true })
}

function exitCodeOf({ added, changed, removed, undecided }: Reconciliation): number {
  if (added + changed + removed > 0) return EXIT_CODES.differs[0]
  return undecided > 0 ? EXIT_CODES.unavailable[0] : EXIT_CODES.ok[0]
}

function findingLines(finding: Finding, paint: Paint): string[] {
  const { kind, resource, id, before, after, interval } = finding
  const difference = findingKind(finding)
  const styles = { added: 'green', changed: 'yellow', removed: 'red' } as const
  const name = kind === 'schema' ? `schema of ${resource === '' ? '(database)' : resource}` : `${resource}/${id}`
  const when = `between ${timeText(interval.after)} and ${timeText(interval.before)}`
  const fields = difference === 'removed' ? [] : changedFields(jsonText(before), jsonText(after))
  return [
    `${paint(styles[difference], difference)}  ${printable(name)}  ${when}`,
    ...fields.map((change) => `    ${fieldText(change)}`),
  ]
}

function jsonOf(finding: Finding): string {
  const { kind, resource, id, before, after, interval } = finding
  const value = (image: Image | null): unknown => (image === null ? null : JSON.parse(jsonText(image) ?? 'null'))
  const difference = findingKind(finding)
  return JSON.stringify({ kind, resource, id, difference, interval, before: value(before), after: value(after) })
}

function jsonText(image: Image | null): string | null {
  return image === null ? null : Buffer.from(image.json).toString('utf8')
}

function resultLines(result: Reconciliation, options: ReconcileCommandOptions, paint: Paint): string[] {
  const { same, added, changed, removed, recorded, undecided, undecidedBecause } = result
  const found = added + changed + removed
  const lines = pairs([
    ['same', countText(same)],
    ['found', found === 0 ? paint('green', 'nothing') : paint('red', plural(found, 'write'))],
    ...(found === 0
      ? []
      : [['', `${countText(added)} added, ${countText(changed)} changed, ${countText(removed)} removed`] as const]),
    ...(options.record === true ? [['recorded', countText(recorded)] as const] : []),
    ...(undecided === 0 ? [] : [['undecided', paint('yellow', plural(undecided, 'item'))] as const]),
  ])
  for (const reason of undecidedBecause) lines.push(`  ${printable(reason)}`)
  if (found > 0 && options.record !== true) {
    lines.push('next: the same command with --record makes them part of the history')
  } else if (found > 0) {
    lines.push(`next: tidemark log <resource>/<id>${storeArgument(options)}`)
  }
  return lines
}

function noDatabase(source: string): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `"${source}" is no database that is known here. Nothing was read.`, {
    hint: 'Give the connection string of the live database as --source, such as file:///var/lib/app.',
  })
}

function nothingThere(source: string, known: string): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `There is no database at ${source}. Nothing was read or made there.`, {
    hint: `The history is of ${known}: give that as --source, as it is reached from here.`,
    details: { source, known },
  })
}

function otherName(expected: string, found: string): TidemarkError {
  return new TidemarkError(
    'CONFIRMATION_NEEDED',
    `The history is of ${expected}, and the source is ${found}. Nothing was recorded.`,
    {
      hint: 'Give the database of this history, or say with --yes that it is this one by another name.',
      details: { expected, found },
    },
  )
}
