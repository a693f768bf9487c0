/**
 * Makes schemas/vectors anew: stores as this code writes them, with what a reader must find in them.
 *
 *   node tools/make-vectors.ts        replaces the vectors; only where a format was changed on purpose
 *
 * Contents and times are the same at every run; keys, nonces and what names this process are not. The test of the vectors
 * then wants the hash of the new SHA256SUMS.
 */
import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { join } from 'node:path'
import { makeJournal } from './vectors/journal.ts'
import { makeStore } from './vectors/store.ts'

/** Journals are named in timelines by their path: a place that says nothing of who made the vectors. */
const WORK = '/tmp/tidemark-vectors'
const MADE = `${WORK}/made`
const PLACE = join(import.meta.dirname, '../schemas/vectors')
const NAMES = ['plain', 'encrypted', 'record-keys', 'journal', 'encrypted-journal']

os.hostname = (): string => 'vectors.example'
syncBuiltinESMExports()

rmSync(WORK, { recursive: true, force: true })
await makeStore(WORK, MADE, { name: 'plain', spec: {}, erase: 'rewritten', acknowledged: true })
const encryption = { passphrase: 'crème brûlée at noon' }
await makeStore(WORK, MADE, { name: 'encrypted', spec: { encryption }, erase: 'rewritten', acknowledged: true })
const recordKeys = `file:${WORK}/record-keys/keyring`
await makeStore(WORK, MADE, { name: 'record-keys', spec: { recordKeys }, erase: 'keys', acknowledged: false })
await makeJournal(WORK, MADE, { name: 'journal', spec: {} })
await makeJournal(WORK, MADE, { name: 'encrypted-journal', spec: { encryption } })
for (const name of NAMES) {
  rmSync(`${PLACE}/${name}`, { recursive: true, force: true })
  cpSync(`${MADE}/${name}`, `${PLACE}/${name}`, { recursive: true })
}
const files = readdirSync(PLACE, { recursive: true, encoding: 'utf8', withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(PLACE.length + 1))
  .filter((path) => NAMES.includes(path.split('/')[0] ?? ''))
  .sort()
const sums = files.map(
  (path) =>
    `${createHash('sha256')
      .update(readFileSync(join(PLACE, path)))
      .digest('hex')}  ${path}\n`,
)
writeFileSync(join(PLACE, 'SHA256SUMS'), sums.join(''))
console.log(`${files.length} files made in ${PLACE}`)
rmSync(WORK, { recursive: true, force: true })
process.exit() // writes that nobody hears of again are still under way
