/**
 * Does everything that makes files, under a umask that forbids nothing, with TMPDIR in the same directory:
 * node test/support/umask-writer.ts <directory>
 *
 * Prints as JSON what was there while it was at work and at the end: [path, mode in octal, kind], each once.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { join, relative } from 'node:path'
import { decryptStore } from '../../src/engine/decrypt.ts'
import { Keys } from '../../src/engine/keys.ts'
import { placeOf } from '../../src/engine/opening.ts'
import { Tidemark } from '../../src/index.ts'
import { Secret } from '../../src/store/encryption/secret.ts'
import { ModelDatabase, recordImage } from './model-database.ts'

const [root = ''] = process.argv.slice(2)
process.umask(0)
const seen = new Map<string, readonly [path: string, mode: string, kind: string]>()

function look(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) continue
    const entry = [relative(root, path), (stats.mode & 0o777).toString(8), kindOf(stats)] as const
    seen.set(JSON.stringify(entry), entry)
    if (stats.isDirectory()) look(path)
  }
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'directory'
  return stats.isSocket() ? 'socket' : 'file'
}

/** What comes and goes is seen only while it is there. */
const watch = setInterval(() => {
  try {
    look(root)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}, 5)

async function live(name: string, ack: 'journal' | 'store', secret: Uint8Array | null): Promise<void> {
  const database = new ModelDatabase(`model://${name}`)
  const encryption = secret === null ? {} : { encryption: { key: secret } }
  const store = { url: `file:${root}/${name}/store`, ...encryption }
  const journal = { directory: `${root}/${name}/journal`, encrypt: secret !== null }
  const options = { store, journal, source: database, ack } as const
  const tidemark = await Tidemark.capture(options)
  for (let round = 0; round < 3; round++) {
    const write = (_: unknown, n: number): Promise<void> =>
      database.write({ kind: 'record', resource: 'users', id: `u${n}` }, recordImage({ n, round }))
    await Promise.all(Array.from({ length: 50 }, write))
    await tidemark.flush()
    if (round === 0) await tidemark.snapshot()
  }
  await tidemark.drill()
  await tidemark.restoreAt('latest', { target: `file:${root}/${name}/restored` })
  await tidemark.restoreAt('latest', { target: `file:${root}/${name}/restored`, overwrite: true })
  await database.write({ kind: 'record', resource: 'users', id: 'u1' }, null)
  await tidemark.erase('users', 'u1', { reason: 'asked for' })
  await tidemark.close()
  if (secret === null) return
  await (await Keys.open(await placeOf(store, {}))).add(Secret.ofKey(Buffer.alloc(32, 9), 'another'))
  await decryptStore(store, `file:${root}/${name}/plain`, {})
}

await live('journal', 'journal', null)
await live('store', 'store', null)
await live('encrypted', 'journal', Buffer.alloc(32, 5))
clearInterval(watch)
look(root)
process.stdout.write(JSON.stringify([...seen.values()]))
