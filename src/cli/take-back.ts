import type { RestoreResult } from '../engine/restore.ts'
import { shellQuoted, storeArgument } from './command.ts'
import type { RestoreCommandOptions } from './restore-options.ts'

/** Characters of a command that a terminal shows as one; a longer one names many ids. */
const MOST_COMMAND = 1000

/**
 * What takes a restore in place back, to be pasted; none where nothing was written. A connection string is repeated only where it is the
 * name of the database too: one that is not may hold a secret.
 */
export function takeBackLines(
  { before, target }: Pick<RestoreResult, 'before' | 'target'>,
  options: RestoreCommandOptions,
): readonly string[] {
  if (before === null) return []
  const command = `  tidemark restore --to ${before} --target ${shellQuoted(target)}${repeated(options)} --yes`
  if (options.target === target && command.length <= MOST_COMMAND) return ['To take it back:', command]
  return [`To take it back, type the same command with --to ${before}`]
}

/** What else was typed, as far as it says what is restored and how. */
function repeated(options: RestoreCommandOptions): string {
  const { resource, id, onConflict, adapter, mapSchema, inPlace, journal, memory } = options
  const values = [
    ['--resource', ...(resource ?? [])],
    ['--id', ...(id ?? [])],
    ...Object.entries({ '--on-conflict': onConflict, '--adapter': adapter, '--journal': journal, '--memory': memory }),
  ]
  const words = values
    .filter(([, value]) => value !== undefined)
    .map((list) => list.map((one) => shellQuoted(one ?? '')))
  const flags = [...(mapSchema === true ? ['--map-schema'] : []), ...(inPlace === true ? ['--in-place'] : [])]
  return (
    [...words.map((list) => ` ${list.join(' ')}`), ...flags.map((flag) => ` ${flag}`)].join('') + storeArgument(options)
  )
}
