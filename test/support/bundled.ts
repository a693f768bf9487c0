import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { errnoOf } from '../../src/store/filesystem-errors.ts'
import { bundle } from '../../tools/bundle.ts'
import { ROOT } from './cli.ts'

/** Of any checkout: nothing here is ever changed. */
const CACHE = join(ROOT, 'node_modules/.cache/tidemark')

/**
 * The command line as it is packed, made of the sources of now: it starts twice as fast as they do. Where it is tells its
 * content, so runs beside each other share it, and what V8 compiled of it is found again. Returns the file of the command.
 */
export async function bundledCli(): Promise<string> {
  await mkdir(CACHE, { recursive: true })
  const making = await mkdtemp(join(CACHE, 'making-'))
  await bundle(join(making, 'dist'))
  await cp(join(ROOT, 'package.json'), join(making, 'package.json'))
  const directory = join(CACHE, await contentOf(join(making, 'dist')))
  await rename(making, directory).catch(async (error: unknown) => {
    if (!['ENOTEMPTY', 'EEXIST'].includes(errnoOf(error))) throw error
    await rm(making, { recursive: true })
  })
  return join(directory, 'dist/bin.js')
}

async function contentOf(directory: string): Promise<string> {
  const hash = createHash('sha256')
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  for (const path of paths.sort()) {
    hash.update(relative(directory, path))
    hash.update(await readFile(path))
  }
  return hash.digest('hex').slice(0, 16)
}
