/**
 * Bundles the sources: node tools/bundle.ts <directory>
 *
 * A command that loads some 370 files of its own takes twice as long to start as one that loads a few.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'

const SRC = join(import.meta.dirname, '../src')

/** What is imported by name, started as a command, or as a thread by the file beside it. */
const ENTRIES = {
  bin: 'bin.ts',
  index: 'index.ts',
  's3db/plugin': 's3db/plugin.ts',
  testing: 'testing.ts',
  'encode-worker': 'capture/encode-worker.ts',
  'merge-worker': 'upkeep/compaction/merge-worker.ts',
}

/** Writes the bundle. What is shared is in one directory, where a thread is found beside whoever starts it, and `../package.json` too. */
export async function bundle(directory: string): Promise<void> {
  const input = Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, join(SRC, file)]))
  const build = await rolldown({ input, platform: 'node', external: /^[^./]/ })
  await build.write({ dir: directory, format: 'esm', keepNames: true, chunkFileNames: '[name]-[hash].js' })
  await build.close()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await bundle(process.argv[2] ?? '')
