import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { Disk } from '../capture/disk.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import { type Checks, type ContractCase, casesOf } from './contract-case.ts'
import { fails, pattern } from './objects.ts'

/** A directory that is there and empty, on a disk. */
export interface DiskUnderTest {
  readonly directory: string
  /** Default: the disk that journals are written to, so that the file system of `directory` is what is tried. */
  readonly disk?: Disk
  /** Where the power can be cut: cuts it, and gives the disk as it is found when it is back. */
  cutPower?(): Promise<Disk>
  dispose(): Promise<void>
}

interface OpenDisk {
  readonly disk: Disk
  /** The path of a file in the directory. */
  readonly at: (name: string) => string
  readonly directory: string
  readonly cutPower: (() => Promise<Disk>) | null
}

/** What every `Disk` of a journal must do; `make` gives an empty directory for each case, which is disposed of behind it. */
export function diskContract(make: () => Promise<DiskUnderTest>): readonly ContractCase[] {
  return casesOf({ ...contentChecks, ...directoryChecks, ...powerChecks }, async (run) => {
    const place = await make()
    const { disk = new NodeDisk(), directory } = place
    const cutPower = place.cutPower === undefined ? null : () => place.cutPower?.() ?? Promise.resolve(disk)
    try {
      await run({ disk, directory, at: (name) => join(directory, name), cutPower })
    } finally {
      await place.dispose()
    }
  })
}

const MANY = 1_000_000

const contentChecks: Checks<OpenDisk> = {
  'gives back every byte that was committed': async ({ disk, at }) => {
    const bytes = pattern(100_003)
    const file = await disk.open(at('a'))
    await file.commit(bytes.subarray(0, 70_000), 0)
    await file.commit(bytes.subarray(70_000), 70_000)
    same(await disk.read(at('a'), 0, bytes.length), bytes)
    same(await disk.read(at('a'), 12_345, 67_890), bytes.subarray(12_345, 67_890))
    await file.close()
    same(await disk.read(at('a'), 0, bytes.length), bytes)
  },

  'gives fewer bytes where the file ends before, and none behind its end': async ({ disk, at }) => {
    const bytes = pattern(1000)
    await committed(disk, at('a'), bytes)
    same(await disk.read(at('a'), 0, MANY), bytes)
    same(await disk.read(at('a'), 990, MANY), bytes.subarray(990))
    for (const start of [1000, 5000]) assert.equal((await disk.read(at('a'), start, MANY)).length, 0)
  },

  'writes where it is told to, and leaves the rest': async ({ disk, at }) => {
    const bytes = pattern(10_000)
    await committed(disk, at('a'), bytes)
    const [first, second] = [pattern(3000, 1), pattern(1, 2)]
    const file = await disk.open(at('a'))
    await file.commit(first, 4096)
    await file.commit(second, 0)
    await file.close()
    const expected = Uint8Array.from(bytes)
    expected.set(first, 4096)
    expected.set(second, 0)
    same(await disk.read(at('a'), 0, MANY), expected)
  },

  'takes commits of ranges that do not overlap at once': async ({ disk, at }) => {
    const file = await disk.open(at('a'))
    await file.commit(new Uint8Array(64 * 5000), 0)
    const parts = Array.from({ length: 64 }, (_, i) => pattern(5000, i))
    await Promise.all(parts.map((part, i) => file.commit(part, i * 5000)))
    await file.close()
    same(await disk.read(at('a'), 0, MANY), Buffer.concat(parts))
  },

  'has its own copy of what was committed, and of what it has given': async ({ disk, at }) => {
    const bytes = pattern(5000)
    const reused = Uint8Array.from(bytes)
    const file = await disk.open(at('a'))
    await file.commit(reused, 0)
    reused.fill(0)
    const read = await disk.read(at('a'), 0, MANY)
    same(read, bytes)
    read.fill(0)
    same(await disk.read(at('a'), 0, MANY), bytes)
    await file.close()
  },

  'says once that the bytes are written, before they are durable, when everybody reads them': async ({ disk, at }) => {
    const bytes = pattern(5000)
    const file = await disk.open(at('a'))
    const reads: Promise<Uint8Array>[] = []
    await file.commit(bytes, 0, () => reads.push(disk.read(at('a'), 0, MANY)))
    assert.equal(reads.length, 1)
    for (const read of reads) same(await read, bytes)
    await file.close()
  },

  'takes nothing into a file that was removed': async ({ disk, at }) => {
    const file = await disk.open(at('a'))
    await file.commit(pattern(10), 0)
    await disk.remove(at('a'))
    let said = 0
    assert.equal(await fails(file.commit(pattern(10), 10)), 'JOURNAL_FAILED')
    assert.equal(await fails(file.commit(pattern(10), 20, () => said++)), 'JOURNAL_FAILED')
    assert.equal(said, 0)
    await file.close()
  },

  'takes several MiB at a time': async ({ disk, at }) => {
    const bytes = pattern(9 * 1_048_576 + 1)
    await committed(disk, at('a'), bytes)
    same(await disk.read(at('a'), 0, bytes.length), bytes)
  },
}

const directoryChecks: Checks<OpenDisk> = {
  'makes a file where there is none, and opens the same one again': async ({ disk, at, directory }) => {
    await (await disk.open(at('a'))).close()
    assert.deepEqual(await listed(disk, directory), ['a: 0'])
    await committed(disk, at('a'), pattern(10))
    const again = await disk.open(at('a'))
    same(await disk.read(at('a'), 0, MANY), pattern(10))
    await again.close()
    assert.deepEqual(await listed(disk, directory), ['a: 10'])
  },

  'lists every file with its size, also of files that are open': async ({ disk, at, directory }) => {
    assert.deepEqual(await listed(disk, directory), [])
    const names = Array.from({ length: 30 }, (_, i) => `${String(i).padStart(20, '0')}.tmj`)
    const files = await Promise.all(names.map((name) => disk.open(at(name))))
    for (const [i, file] of files.entries()) await file.commit(pattern(i * 100), 0)
    const expected = names.map((name, i) => `${name}: ${i * 100}`)
    assert.deepEqual(await listed(disk, directory), expected)
    for (const file of files) await file.close()
    assert.deepEqual(await listed(disk, directory), expected)
  },

  'removes a file, and takes the removal of one that is not there': async ({ disk, at, directory }) => {
    for (const name of ['a', 'b']) await committed(disk, at(name), pattern(10))
    await disk.remove(at('a'))
    await disk.remove(at('a'))
    await disk.syncDirectory(directory)
    assert.deepEqual(await listed(disk, directory), ['b: 10'])
    await (await disk.open(at('a'))).close()
    assert.equal((await disk.read(at('a'), 0, MANY)).length, 0)
  },

  'says what fails as an error of the journal': async ({ disk, at, directory }) => {
    const nowhere = join(directory, 'nowhere')
    for (const call of [
      () => disk.read(at('missing'), 0, 1),
      () => disk.list(nowhere),
      () => disk.open(join(nowhere, 'a')),
      () => disk.syncDirectory(nowhere),
    ])
      assert.match(await fails(call()), /^JOURNAL_(FAILED|DENIED|FULL)$/)
  },
}

const powerChecks: Checks<OpenDisk> = {
  'still has what was committed, made and removed when the power was cut behind it': async (subject) => {
    const { disk, at, directory, cutPower } = subject
    if (cutPower === null) return
    for (const name of ['gone', 'kept']) await committed(disk, at(name), pattern(3000))
    await disk.syncDirectory(directory)
    await disk.remove(at('gone'))
    const file = await disk.open(at('made'))
    await disk.syncDirectory(directory)
    const bytes = pattern(20_000, 3)
    for (let from = 0; from < bytes.length; from += 5000) await file.commit(bytes.subarray(from, from + 5000), from)
    const after = await cutPower()
    assert.deepEqual(await listed(after, directory), ['kept: 3000', 'made: 20000'])
    same(await after.read(at('kept'), 0, MANY), pattern(3000))
    same(await after.read(at('made'), 0, MANY), bytes)
  },
}

async function committed(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path)
  try {
    await file.commit(bytes, 0)
  } finally {
    await file.close()
  }
}

async function listed(disk: Disk, directory: string): Promise<readonly string[]> {
  return (await disk.list(directory)).map(({ name, bytes }) => `${name}: ${bytes}`).sort()
}

function same(found: Uint8Array, expected: Uint8Array): void {
  assert.equal(found.length, expected.length)
  assert.ok(Buffer.compare(found, expected) === 0, 'the bytes are others')
}
