import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')
export const TSC: string = join(MODULES, '.bin', 'tsc')

/** Builds and packs a copy of the tree in a new directory, and unpacks the tarball where npm would: in `app/node_modules`. */
export async function packedHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'tidemark-package-'))
  const copy = join(home, 'copy')
  await mkdir(copy)
  for (const name of await readdir(ROOT)) {
    if (!['node_modules', 'dist', 'test', 'bench', '.git', '.demo'].includes(name)) {
      await cp(join(ROOT, name), join(copy, name), { recursive: true })
    }
  }
  await symlink(MODULES, join(copy, 'node_modules'))
  await run('npm', ['pack', '--offline', '--pack-destination', home], { cwd: copy })
  const tarball = (await readdir(home)).find((name) => name.endsWith('.tgz')) ?? ''
  const modules = join(home, 'app', 'node_modules')
  await mkdir(modules, { recursive: true })
  for (const name of await readdir(MODULES)) await symlink(join(MODULES, name), join(modules, name))
  await run('tar', ['-xzf', join(home, tarball), '-C', modules])
  await run('mv', [join(modules, 'package'), join(modules, 'tidemark')])
  return home
}

/** The TypeScript of `schemas/ADAPTERS.md`, block by block. */
export async function adapterBlocks(): Promise<readonly string[]> {
  const document = await readFile(join(ROOT, 'schemas/ADAPTERS.md'), 'utf8')
  return [...document.matchAll(/^```ts\n(.*?)^```/gms)].map(([, block = '']) => block)
}
