/**
 * Makes schemas/vectors anew: stores as this code writes them, with what a reader must find in them.
 *
 *   node tools/make-vectors.ts            replaces the vectors; only where a format was changed on purpose
 *   node tools/make-vectors.ts <name..>   replaces these alone: others stay as they are, byte for byte
 *
 * Contents and times are the same at every run; keys, nonces and what names this process are not. The test of the vectors
 * then wants the hash of the new SHA256SUMS.
 */
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { join } from 'node:path'
import { makeJournal } from './vectors/journal.ts'
import { makeLate } from './vectors/late.ts'
import { makeStore } from './vectors/store.ts'
import { makeStoreJournal } from './vectors/store-journal.ts'

/** Journals are named in timelines by their path: a place that says nothing of who made the vectors. */
const WORK = '/tmp/tidemark-vectors'
const MADE = `${WORK}/made`
const PLACE = join(import.meta.dirname, '../schemas/vectors')
const encryption = { passphrase: 'crème brûlée at noon' }
const recordKeys = `file:${WORK}/record-keys/keyring`
const MAKERS: ReadonlyMap<string, () => Promise<void>> = new Map([
  [
    'plain',
    () => makeStore(WORK, MADE, { name: 'plain', spec: {}, erase: 'rewritten', acknowledged: true, inNodes: true }),
  ],
  [
    'encrypted',
    () =>
      makeStore(WORK, MADE, {
        ...{ name: 'encrypted', spec: { encryption }, erase: 'rewritten', acknowledged: true, inNodes: false },
      }),
  ],
  [
    'record-keys',
    () =>
      makeStore(WORK, MADE, {
        ...{ name: 'record-keys', spec: { recordKeys }, erase: 'keys', acknowledged: false, inNodes: true },
      }),
  ],
  [
    'merged',
    () =>
      makeStore(WORK, MADE, {
        ...{ name: 'merged', spec: {}, erase: 'rewritten', acknowledged: true, inNodes: false, isMerged: true },
      }),
  ],
  ['late-and-lost', () => makeLate(WORK, MADE)],
  ['journal', () => makeJournal(WORK, MADE, { name: 'journal', spec: {} })],
  ['encrypted-journal', () => makeJournal(WORK, MADE, { name: 'encrypted-journal', spec: { encryption } })],
  ['store-journal', () => makeStoreJournal(WORK, MADE)],
])

os.hostname = (): string => 'vectors.example'
syncBuiltinESMExports()

rmSync(WORK, { recursive: true, force: true })
mkdirSync(WORK)
// What a capture waits for does not keep a process alive.
setInterval(() => {}, 1000)
const chosen = process.argv.length > 2 ? process.argv.slice(2) : [...MAKERS.keys()]
for (const name of chosen) {
  const make = MAKERS.get(name)
  if (make === undefined) throw new Error(`there is no ${name}: ${[...MAKERS.keys()].join(', ')}`)
  await make()
  rmSync(`${PLACE}/${name}`, { recursive: true, force: true })
  cpSync(`${MADE}/${name}`, `${PLACE}/${name}`, { recursive: true })
}
const files = readdirSync(PLACE, { recursive: true, encoding: 'utf8', withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(PLACE.length + 1))
  .filter((path) => MAKERS.has(path.split('/')[0] ?? ''))
  .sort()
const sums = files.map(
  (path) =>
    `${createHash('sha256')
      .update(readFileSync(join(PLACE, path)))
      .digest('hex')}  ${path}\n`,
)
writeFileSync(join(PLACE, 'SHA256SUMS'), sums.join(''))
console.log(`${chosen.join(', ')}: made; ${files.length} files in ${PLACE}`)
rmSync(WORK, { recursive: true, force: true })
process.exit() // writes that nobody hears of again are still under way
