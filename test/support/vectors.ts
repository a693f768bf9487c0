import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExpectedJournal, ExpectedStore } from '../../tools/vectors/expected.ts'

/** The committed bytes, which nothing writes to. */
export const VECTORS: string = join(import.meta.dirname, '../../schemas/vectors')

/** Of the encrypted store, as the document beside it tells it. */
export const PASSPHRASE: string =
  /its passphrase is `(.+?)`/.exec(readFileSync(join(VECTORS, 'README.md'), 'utf8'))?.[1] ?? ''

/** What must be read from the store of this name. */
export function expectedStore(name: string): ExpectedStore {
  return JSON.parse(readFileSync(join(VECTORS, name, 'expected.json'), 'utf8'))
}

/** What must be read from the torn journal of this name. */
export function expectedJournal(name: string): ExpectedJournal {
  return JSON.parse(readFileSync(join(VECTORS, name, 'expected.json'), 'utf8'))
}
