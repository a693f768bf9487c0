import { execFile } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDirectoryTarget } from '../../src/engine/targets.ts'
import { unfinishedPrefix } from '../../src/format/keys.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { compareItems } from '../../src/model/order.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { directoryTarget } from '../../src/restore/directory-target.ts'
import type { Target } from '../../src/restore/target.ts'
import type { FileInfo, Files } from '../../src/store/files.ts'
import { FilledDirectory } from '../../src/store/filled-directory.ts'
import { nodeFiles } from '../../src/store/node-files.ts'
import type { ByteRange } from '../../src/store/object-store.ts'
import { TreeFiles } from '../support/simulated-files.ts'
import { PowerCut, SimulatedTree } from '../support/simulated-tree.ts'

const run = promisify(execFile)
const MOMENT = { moment: firstUlidAt(1_700_000_000_000), database: 'model://test' }

let home = ''
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'directory-target-'))
})
afterEach(() => rm(home, { recursive: true, force: true }))

/** Resources and the values of their records by id. */
type State = Readonly<Record<string, Readonly<Record<string, string>>>>

async function restore(target: Target, state: State): Promise<void> {
  const items: (Item & { readonly image: Image })[] = Object.entries(state).flatMap(([resource, records]) =>
    Object.entries(records).map(([id, value]) => ({
      kind: 'record' as const,
      resource,
      id,
      image: { json: Buffer.from(JSON.stringify({ id, value })), raw: null },
    })),
  )
  try {
    await collect(target)
    for (const item of items.sort(compareItems)) await target.write([{ ...item, before: null, after: item.image }])
    await target.finish({})
  } finally {
    await target.close()
  }
}

async function collect(target: Target): Promise<State> {
  const state: Record<string, Record<string, string>> = {}
  for await (const batch of target.scan({})) {
    for (const { resource, id, image } of batch) {
      state[resource] = { ...state[resource], [id]: JSON.parse(Buffer.from(image.json).toString()).value }
    }
  }
  return state
}

async function held(path: string): Promise<State> {
  const target = openDirectoryTarget(path, MOMENT)
  return collect(target).finally(() => target.close())
}

const OLD: State = { orders: { 1: 'old' }, users: { 1: 'old', 2: 'old' } }
const NEW: State = { carts: { 7: 'new' }, users: { 1: 'new', 3: 'new' } }

/** The same, of a target in a simulated tree. */
function simulated(tree: SimulatedTree, nonce: string, files: Files = new TreeFiles(tree)): Target {
  return directoryTarget('/to', new FilledDirectory('/to', files), { ...MOMENT, prefix: unfinishedPrefix(nonce) })
}

async function madeTree(): Promise<SimulatedTree> {
  const tree = new SimulatedTree()
  await restore(simulated(tree, '00000000'), OLD)
  return tree
}

test('the old state or the new one stands there, whenever the power goes or the process is killed', async () => {
  const whole = await madeTree()
  const begun = whole.points
  await restore(simulated(whole, '11111111'), NEW)
  const points = whole.points - begun
  const seen = new Set<string>()
  for (let nth = 0; nth < points; nth++) {
    const tree = await madeTree()
    tree.arm({ nth })
    await expect(restore(simulated(tree, '11111111'), NEW)).rejects.toThrow(PowerCut)
    for (const after of [tree.afterKill(), tree.afterPowerCut(nth), tree.afterPowerCut(nth + 1000)]) {
      const state = await collect(simulated(after, '22222222'))
      expect([OLD, NEW]).toContainEqual(state)
      seen.add(JSON.stringify(state))
      await restore(simulated(after, '33333333'), NEW)
      expect(await collect(simulated(after, '44444444'))).toEqual(NEW)
      const names = [...after.contents().keys()].filter((name) => !name.includes('.tmp'))
      expect(names.sort()).toEqual(['to/carts.jsonl.gz', 'to/s3db.json', 'to/users.jsonl.gz'])
    }
  }
  expect(seen.size).toBe(2)
})

test('what a first restore into an empty directory leaves when it is killed is no obstacle to the next one', async () => {
  const whole = new SimulatedTree()
  await restore(simulated(whole, '11111111'), NEW)
  for (let nth = 0; nth < whole.points; nth++) {
    const tree = new SimulatedTree()
    tree.arm({ nth })
    await expect(restore(simulated(tree, '11111111'), NEW)).rejects.toThrow(PowerCut)
    const after = tree.afterPowerCut(nth)
    expect([{}, NEW]).toContainEqual(await collect(simulated(after, '22222222')))
    await restore(simulated(after, '33333333'), NEW)
    expect(await collect(simulated(after, '44444444'))).toEqual(NEW)
  }
})

test('names that differ in case only are two files, on a file system that ignores case too', async () => {
  const state: State = { USERS: { a: '1' }, Users: { a: '2' }, users: { a: '3' }, other: { a: '4' } }
  await restore(openDirectoryTarget(join(home, 'to'), MOMENT), state)
  expect(await held(join(home, 'to'))).toEqual(state)
  const names = await readdir(join(home, 'to'))
  expect(names.sort()).toEqual([
    'USERS.jsonl.gz',
    'Users%2.jsonl.gz',
    'other.jsonl.gz',
    's3db.json',
    'users%3.jsonl.gz',
  ])
  expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(names.length)
  // Another resource of that name takes the file's place there.
  const tree = new SimulatedTree()
  const files = new IgnoringCase(tree)
  await restore(simulated(tree, '00000000', files), { users: { a: 'old' } })
  await restore(simulated(tree, '11111111', files), { Users: { a: 'new' } })
  expect(await collect(simulated(tree, '22222222', files))).toEqual({ Users: { a: 'new' } })
})

test('where files cannot have two names, they are copied', async () => {
  const tree = await madeTree()
  await restore(simulated(tree, '11111111', new WithoutLinks(tree)), NEW)
  expect(await collect(simulated(tree, '22222222'))).toEqual(NEW)
})

test('a link stays, and the directory that it leads to is filled', async () => {
  await mkdir(join(home, 'disk'))
  await symlink(join(home, 'disk'), join(home, 'link'))
  await restore(openDirectoryTarget(join(home, 'link'), MOMENT), NEW)
  expect(await readlink(join(home, 'link'))).toBe(join(home, 'disk'))
  expect(await held(join(home, 'disk'))).toEqual(NEW)
})

test('an empty directory keeps its identity: a shell that stands in it sees the files', async () => {
  await mkdir(join(home, 'here'))
  const script = `
    const { openDirectoryTarget } = await import(process.argv[1] + '/src/engine/targets.ts')
    const target = openDirectoryTarget('.', { moment: '${MOMENT.moment}', database: 'model://test' })
    for await (const _ of target.scan({})) throw new Error('not empty')
    await target.finish()
    await target.close()`
  const root = join(import.meta.dirname, '..', '..')
  const node = process.execPath
  const { stdout } = await run('sh', [
    '-c',
    'cd "$1" && "$2" --input-type=module -e "$3" "$4" && ls',
    '-',
    join(home, 'here'),
    node,
    script,
    root,
  ])
  expect(stdout).toBe('s3db.json\n')
})

test('a name as long as a file name can be', async () => {
  const path = join(home, 'r'.repeat(255))
  await restore(openDirectoryTarget(path, MOMENT), { ['n'.repeat(300)]: { 1: 'long' } })
  expect(await held(path)).toEqual({ ['n'.repeat(300)]: { 1: 'long' } })
})

test('a file system of its own, empty but for what it makes itself, and an own directory in one of somebody else', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root')
  const volume = join(home, 'volume')
  await mkdir(volume)
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', volume]).catch(() => null)
  if (mounted !== null) {
    try {
      await mkdir(join(volume, 'lost+found'), { mode: 0o700 })
      await restore(openDirectoryTarget(volume, MOMENT), OLD)
      await restore(openDirectoryTarget(volume, MOMENT), NEW)
      expect(await held(volume)).toEqual(NEW)
      expect(await readdir(volume)).toContain('lost+found')
    } finally {
      await run('umount', [volume])
    }
  }
  await chmod(home, 0o755)
  const own = join(home, 'own')
  await mkdir(own)
  await chown(own, 65_534, 65_534)
  process.seteuid?.(65_534)
  try {
    await restore(openDirectoryTarget(own, MOMENT), NEW)
    expect(await held(own)).toEqual(NEW)
  } finally {
    process.seteuid?.(0)
  }
})

test('a place that cannot be written is told before the work, as what it is, and nothing is left', async (context) => {
  await writeFile(join(home, 'file'), 'mine')
  const inFile = openDirectoryTarget(join(home, 'file'), MOMENT)
  await expect(restore(inFile, NEW)).rejects.toMatchObject({
    code: 'TARGET_INVALID',
    hint: expect.stringContaining('--target'),
  })
  const full = {
    ...nodeFiles,
    create: async (): Promise<void> => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    },
  }
  const place = new FilledDirectory(join(home, 'a', 'b'), full)
  const target = directoryTarget('b', place, { ...MOMENT, prefix: unfinishedPrefix('00000000') })
  const failed = await restore(target, NEW).catch((error: unknown) => error)
  expect(failed).toMatchObject({ code: 'TARGET_FULL' })
  expect(String(failed)).not.toContain('store')
  expect(await readdir(home)).toEqual(['file'])
  if (process.getuid?.() !== 0) return context.skip('the rest needs root')
  await chmod(home, 0o755)
  process.seteuid?.(65_534)
  try {
    const denied = openDirectoryTarget(join(home, 'new'), MOMENT)
    await expect(restore(denied, NEW)).rejects.toMatchObject({ code: 'TARGET_DENIED' })
  } finally {
    process.seteuid?.(0)
  }
})

test('the files have their plain names in the end, and are what the manifest says', async () => {
  const path = join(home, 'to')
  await restore(openDirectoryTarget(path, MOMENT), OLD)
  await restore(openDirectoryTarget(path, MOMENT), NEW)
  expect((await readdir(path)).sort()).toEqual(['carts.jsonl.gz', 's3db.json', 'users.jsonl.gz'])
  const lines = gunzipSync(await readFile(join(path, 'users.jsonl.gz')))
    .toString()
    .trim()
    .split('\n')
  expect(lines.map((line) => JSON.parse(line).value)).toEqual(['new', 'new'])
})

/** Files of a file system that has no hard links. */
class WithoutLinks extends TreeFiles {
  override async place(from: string, to: string, how: 'rename' | 'link'): Promise<void> {
    if (how === 'link') throw Object.assign(new Error('EPERM: operation not permitted'), { code: 'EPERM' })
    await super.place(from, to, how)
  }
}

/** A file system that keeps the case of a name and finds it in any: in one directory. */
class IgnoringCase extends TreeFiles {
  async #found(path: string): Promise<string> {
    if (!path.startsWith('/to/') || path.includes('.tmp')) return path
    const names = await super.list('/to')
    return `/to/${names.find(({ name }) => `/to/${name}`.toLowerCase() === path.toLowerCase())?.name ?? path.slice(4)}`
  }

  override async look(path: string): Promise<FileInfo> {
    return super.look(await this.#found(path))
  }

  override async read(path: string, range: ByteRange | null): Promise<{ bytes: Uint8Array; size: number } | null> {
    return super.read(await this.#found(path), range)
  }

  override async place(from: string, to: string, how: 'rename' | 'link'): Promise<void> {
    await super.place(await this.#found(from), await this.#found(to), how)
  }

  override async remove(path: string): Promise<void> {
    await super.remove(await this.#found(path))
  }
}
