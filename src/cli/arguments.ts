import { durationMs } from '../base/duration.ts'
import { TidemarkError } from '../base/errors.ts'

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

/** MiB as bytes. Errors: `OPTION_INVALID`. */
export function parseMemory(argument: string | undefined): number | undefined {
  if (argument === undefined) return undefined
  const mebibytes = Number(argument)
  if (/^\d+$/.test(argument) && mebibytes >= 1 && mebibytes <= 2 ** 20) return mebibytes * 1024 * 1024
  throw new TidemarkError('OPTION_INVALID', `--memory ${argument} is no number of MiB. Nothing was read.`, {
    hint: 'Give a whole number from 1, such as --memory 256.',
  })
}

/** A duration such as `90s`, `5m` or `1.5h`, in milliseconds. Errors: `OPTION_INVALID`. */
export function parseDuration(option: string, argument: string): number {
  const ms = durationMs(argument)
  if (ms !== null) return ms
  throw new TidemarkError('OPTION_INVALID', `${option} ${argument} is no duration. Nothing was read.`, {
    hint: 'Give a number with its unit: 500ms, 90s, 5m, 1.5h or 2d.',
  })
}

/** Sequences as `4-9`, or `4-` where nobody knows the end. Errors: `OPTION_INVALID`. */
export function parseRange(argument: string): { firstSequence: number; lastSequence: number | null } {
  const [, first = '', last = ''] = /^(\d{1,15})-(\d{0,15})$/.exec(argument) ?? []
  const range = { firstSequence: Number(first), lastSequence: last === '' ? null : Number(last) }
  if (range.firstSequence > 0 && (range.lastSequence ?? range.firstSequence) >= range.firstSequence) return range
  throw new TidemarkError('OPTION_INVALID', `"${argument}" is no range of sequences. Nothing was changed.`, {
    hint: 'Copy it from tidemark gap list: 11-20, or 31- where nobody knows the end.',
  })
}

/** A whole number from 0. Errors: `OPTION_INVALID`. */
export function parseWhole(option: string, argument: string | undefined): number | undefined {
  if (argument === undefined || /^\d{1,15}$/.test(argument))
    return argument === undefined ? undefined : Number(argument)
  throw new TidemarkError('OPTION_INVALID', `${option} ${argument} is no whole number. Nothing was read.`, {
    hint: `Such as ${option} 3.`,
  })
}
