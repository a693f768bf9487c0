import type { Ulid } from './ulid.ts'

/** What remains of a record that was erased from the history: that it was, and why. Neither its id nor any of its content. */
export interface Erasure {
  /** Everything of the record up to here is gone; a record of the same id that was made later is another one. */
  readonly ulid: Ulid
  readonly resource: string
  /** How: its images were taken out of every file, or the key that they were sealed with was destroyed. */
  readonly mode: 'rewritten' | 'keys'
  readonly reason: string
  /** Who asked for it, where that was told. */
  readonly by: string | null
  /** Events of the record that were in the store. */
  readonly events: number
  /** Snapshots that held it. */
  readonly snapshots: number
  /** With `keys`: the generation of the keyring without its key, in force from here on. */
  readonly keyring?: number
}

/** How many erasures have rewritten files: files that were made when there were fewer may hold what is gone. */
export function rewritings({ erasures }: { readonly erasures: readonly Erasure[] }): number {
  return erasures.filter(({ mode }) => mode === 'rewritten').length
}
