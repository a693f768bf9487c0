import { hasCode, TidemarkError } from '../base/errors.ts'
import type { RestoreResult } from '../engine/restore.ts'
import { isSameDatabase } from '../engine/same-place.ts'
import type { Tidemark } from '../engine/tidemark.ts'
import type { DryRunOptions, RestoreOptions } from '../engine/tidemark-options.ts'
import type { Moment } from '../restore/moment.ts'
import type { Sample } from '../restore/preview.ts'
import type { OpenDatabase } from './adapter.ts'
import { parseMemory } from './arguments.ts'
import { adapterOf, type Surroundings, storeOf, withStore } from './command.ts'
import { confirmed } from './confirm.ts'
import { progressLine } from './progress.ts'
import type { RestoreCommandOptions } from './restore-options.ts'
import { resultJson, resultLines, sampleJson, sampleLines } from './restore-text.ts'
import { takeBackLines } from './take-back.ts'
import { painter, type Terminal, writeLines } from './terminal.ts'

/** How the restore of one destination is run. */
type Restore = (mode: Mode) => Promise<RestoreResult>
type Mode = Pick<RestoreOptions, 'overwrite' | 'dryRun'>

/**
 * `tidemark restore`: a target that holds data, and always the live database, is compared and shown first and changed
 * only with `--yes` or a yes on the terminal. Errors: `CONFIRMATION_NEEDED`, and those of `Tidemark.restoreAt`.
 */
export async function restoreCommand(options: RestoreCommandOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const { mapSchema = false } = options
    const isDatabase = around.adapter.handles(options.target)
    if (mapSchema && (options.id === undefined || !isDatabase)) throw nothingToMap()
    if (options.adapter !== undefined && !isDatabase) throw nothingToOpen(options.target)
    const database = isDatabase ? await around.adapter.open(options.target, { mapSchema, ...adapterOf(options) }) : null
    try {
      const status = await tidemark.status()
      const inPlace =
        database !== null && (options.inPlace === true || isSameDatabase(database.identity, status.database))
      if (options.inPlace === true && database === null) throw noDatabase(options.target)
      const run = runner({ tidemark, database, inPlace, name: status.database }, options, around)
      await restoreWithConsent(run, inPlace, options, around.terminal)
    } finally {
      await database?.close()
    }
  })
}

async function restoreWithConsent(
  restore: Restore,
  inPlace: boolean,
  options: RestoreCommandOptions,
  terminal: Terminal,
): Promise<void> {
  const report = (result: RestoreResult): Promise<void> => writeLines(terminal.out, reportOf(result, options, terminal))
  const look = (): Promise<RestoreResult> => restore({ dryRun: dryRunOf(options, terminal) })
  if (options.dryRun === true) return report(await look())
  if (options.full === true) await report(await look())
  if (options.yes === true) return report(await restore({ overwrite: true }))
  try {
    if (!inPlace) return await report(await restore({}))
  } catch (error) {
    if (!hasCode(error, 'TARGET_NOT_EMPTY')) throw error
  }
  const preview = await restore({ dryRun: true })
  if (options.full !== true) await report(preview)
  if (!(await confirmed(`Change ${preview.target} so?`, terminal))) throw confirmationNeeded(preview, !inPlace)
  await report(await restore({ overwrite: true }))
}

function reportOf(result: RestoreResult, options: RestoreCommandOptions, terminal: Terminal): string[] {
  const { json, full } = options
  // With --full every difference was told before.
  const told = full === true ? { ...result, preview: { ...result.preview, samples: [] } } : result
  return json === true
    ? [resultJson(told)]
    : resultLines(told, painter(terminal.out, terminal), takeBackLines(told, options))
}

/** With `--full` every difference is told as it is found, so that none is held in memory. */
function dryRunOf({ full, json }: RestoreCommandOptions, terminal: Terminal): true | DryRunOptions {
  if (full !== true) return true
  const paint = painter(terminal.out, terminal)
  const linesOf = (difference: Sample): string[] =>
    json === true ? [sampleJson(difference)] : sampleLines(difference, paint, Number.POSITIVE_INFINITY)
  return { onDifference: (difference) => writeLines(terminal.out, linesOf(difference)) }
}

interface RestoreParts {
  readonly tidemark: Tidemark
  readonly database: OpenDatabase | null
  readonly inPlace: boolean
  /** Of the database, in the store. */
  readonly name: string
}

function runner(
  { tidemark, database, inPlace, name }: RestoreParts,
  options: RestoreCommandOptions,
  around: Surroundings,
): Restore {
  const { terminal } = around
  const moment: Moment = options.to
  const selection = {
    ...(options.resource === undefined ? {} : { resources: options.resource }),
    ...(options.id === undefined ? {} : { ids: options.id }),
  }
  const memory = parseMemory(options.memory)
  return async (mode) => {
    const line = progressLine(terminal, 'rows')
    // Between differences on the same terminal it would only be in the way.
    const onProgress = typeof mode.dryRun === 'object' && terminal.out.isTTY === true ? (): void => {} : line.show
    const { onConflict = 'keep' } = options
    const common = { ...selection, ...mode, onConflict, onProgress }
    try {
      if (database === null) return await tidemark.restoreAt(moment, { ...common, target: options.target })
      // A dry run only compares: it opens no stream and leaves no trace in the store.
      if (!inPlace || mode.dryRun !== undefined) {
        return await tidemark.restoreAt(moment, { ...common, target: await database.openTarget(), inPlace })
      }
      const captured = await database.capture({
        store: await storeOf(options, around),
        database: name,
        ...(options.journal === undefined ? {} : { journal: options.journal }),
        ...(memory === undefined ? {} : { memory }),
      })
      return await captured.restoreInPlace(moment, common)
    } finally {
      line.stop()
    }
  }
}

/** `mayBeLive`: the target is no database that the store knows by this name. */
function confirmationNeeded({ target, preview }: RestoreResult, mayBeLive: boolean): TidemarkError {
  const inPlace =
    mayBeLive && target.includes('://') ? '; if it is the live database of this history, also with --in-place' : ''
  return new TidemarkError(
    'CONFIRMATION_NEEDED',
    `${target} holds data that the restore changes. Nothing was changed.`,
    {
      hint: `Check the preview above, then type the same command with --yes${inPlace}.`,
      details: { target, added: preview.added, changed: preview.changed, removed: preview.removed },
    },
  )
}

function nothingToOpen(target: string): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    `--adapter opens a database, and ${target} is a directory. Nothing was done.`,
    {
      hint: 'Give the connection string of a database (scheme://..) as --target, or leave --adapter out.',
    },
  )
}

function nothingToMap(): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    '--map-schema translates single records into the schema of a database. Nothing was done.',
    { hint: 'Give --id and a database as --target, or leave it out: whole resources are restored with their schemas.' },
  )
}

function noDatabase(target: string): TidemarkError {
  return new TidemarkError(
    'TARGET_INVALID',
    `--in-place needs a database, and ${target} is a directory. Nothing was done.`,
    {
      hint: 'Give the connection string of the live database as --target.',
    },
  )
}
