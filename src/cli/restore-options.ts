import type { OnConflict } from '../restore/target.ts'
import type { CommonOptions } from './command.ts'

/** The options of `tidemark restore`. */
export interface RestoreCommandOptions extends CommonOptions, Destination {
  readonly to: string
  readonly resource?: readonly string[]
  readonly id?: readonly string[]
  readonly dryRun?: boolean
  readonly full?: boolean
  readonly yes?: boolean
  readonly onConflict?: OnConflict
  readonly mapSchema?: boolean
}

/** Where a restore goes. */
export interface Destination {
  readonly target: string
  readonly inPlace?: boolean
  readonly journal?: string
  readonly adapter?: string
}
