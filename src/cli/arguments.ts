import { TidemarkError } from '../base/errors.ts'
import type { Moment } from '../restore/moment.ts'

/** Which record is meant. */
export interface RecordName {
  readonly resource: string
  readonly id: string
}

/**
 * Reads `<resource>/<id>`, split at the first slash, since ids may contain slashes; with `--resource` the whole
 * argument is the id. Errors: `OPTION_INVALID`.
 */
export function parseRecordName(argument: string, resource: string | undefined): RecordName {
  if (resource !== undefined) return { resource, id: argument }
  const slash = argument.indexOf('/')
  if (slash > 0) return { resource: argument.slice(0, slash), id: argument.slice(slash + 1) }
  throw new TidemarkError('OPTION_INVALID', `"${argument}" is not of the form <resource>/<id>. Nothing was read.`, {
    hint: 'Such as users/u1; where the name of the resource has a slash itself: --resource <name> <id>.',
  })
}

/** A moment as it is typed; digits alone are epoch milliseconds. The engine checks the rest. */
export function parseMomentArgument(argument: string): Moment {
  return /^\d+$/.test(argument) ? Number(argument) : argument
}

/** MiB as bytes. Errors: `OPTION_INVALID`. */
export function parseMemory(argument: string | undefined): number | undefined {
  if (argument === undefined) return undefined
  const mebibytes = Number(argument)
  if (/^\d+$/.test(argument) && mebibytes >= 1 && mebibytes <= 2 ** 20) return mebibytes * 1024 * 1024
  throw new TidemarkError('OPTION_INVALID', `--memory ${argument} is no number of MiB. Nothing was read.`, {
    hint: 'Give a whole number from 1, such as --memory 256.',
  })
}
