import { resolve } from 'node:path'
import { LEAST_LIMIT_BYTES, type WhenFull } from '../capture/journal-bound.ts'
import { checkAtLeast, checkChoice, checkFlag, checkOptions, checkText } from './options.ts'

/** Where the local journals are, and how much may wait in one. */
export interface JournalOptions {
  /** Each store has a directory of its own in it. Default: `.tidemark`. */
  readonly directory?: string
  /** Bytes of a journal that may wait for the store to take events; writes under way come on top. At least 16 KiB; default 1 GiB. */
  readonly limitBytes?: number
  /**
   * At the limit: `refuse` (default) writes with `JOURNAL_FULL` before the database is touched, or `shed`: writes are
   * done and not recorded, which leaves a gap in the history up to the baseline that is then taken by itself.
   */
  readonly whenFull?: WhenFull
  /** Encrypt what is written to the journals, by the key of the store, which must be encrypted. Default: false. */
  readonly encrypt?: boolean
}

const NAMES = ['directory', 'limitBytes', 'whenFull', 'encrypt']
const DEFAULTS = { directory: '.tidemark', limitBytes: 1024 * 1024 * 1024, whenFull: 'refuse', encrypt: false } as const

/** Refuses what is no journal option. Errors: `OPTION_INVALID`. */
export function checkJournal(journal: string | JournalOptions | undefined): void {
  if (journal === undefined || typeof journal === 'string') {
    checkText('Tidemark', 'journal', journal)
    return
  }
  checkOptions('Tidemark.journal', journal, NAMES)
  checkText('Tidemark.journal', 'directory', journal.directory)
  checkAtLeast('Tidemark.journal', 'limitBytes', journal.limitBytes, LEAST_LIMIT_BYTES)
  checkChoice('Tidemark.journal', 'whenFull', journal.whenFull, ['refuse', 'shed'])
  checkFlag('Tidemark.journal', 'encrypt', journal.encrypt)
}

/** The options with their defaults; the directory is absolute. */
export function journalOptions(journal: string | JournalOptions | undefined): Required<JournalOptions> {
  const given = typeof journal === 'string' ? { directory: journal } : journal
  const options = { ...DEFAULTS, ...given }
  return { ...options, directory: resolve(options.directory) }
}
