import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { newDatabase } from '../support/s3db.ts'

const home = mkdtempSync(join(tmpdir(), 'full-disk-'))
const volume = join(home, 'volume')

/** A file system of its own, of 24 MiB: only root may have one. */
function mounted(): boolean {
  mkdirSync(volume)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', volume], { stdio: 'ignore' })
    return true
  } catch {
    return false // without it the simulated disk is all that is full
  }
}

const hasVolume = mounted()
afterAll(() => {
  if (hasVolume) execFileSync('umount', ['-l', volume])
  rmSync(home, { recursive: true, force: true })
})

/** Another program takes all the room there is. */
function fill(): void {
  const file = openSync(join(volume, 'other'), 'w')
  const bytes = Buffer.alloc(4096, 1)
  try {
    for (;;) writeSync(file, bytes)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    closeSync(file)
  }
}

const makeRoom = (): void => rmSync(join(volume, 'other'), { force: true })

async function refusal(write: Promise<unknown>): Promise<TidemarkError | null> {
  try {
    await write
    return null
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
}

const names = (records: readonly { id?: unknown; name?: unknown }[]): string[] =>
  records.map(({ id, name }) => `${id} ${String(name).length}`).sort()

describe.skipIf(!hasVolume).each(['memory', 'file'] as const)('a journal whose disk is full, %s', (kind) => {
  const text = 'y'.repeat(1500)
  beforeEach(makeRoom)

  it('refuses writes before the database is touched, goes on sealing, and takes them again when there is room', async () => {
    const { db } = await newDatabase(kind)
    const journal = join(volume, `refuse-${kind}`)
    const tidemark = new TidemarkPlugin({ store: `file:${home}/store-${kind}`, journal, seal: { ageMs: 200 } })
    await db.usePlugin(tidemark)
    const users = await db.createResource({ name: 'users', attributes: { name: 'string' }, behavior: 'body-overflow' })
    await tidemark.reachable('latest')
    await tidemark.flush()
    fill()
    const refused: { id: string; error: TidemarkError }[] = []
    for (let i = 0; refused.length < 3; i++) {
      const id = `u${i}`
      const error = await refusal(users.insert({ id, name: text }))
      if (error !== null) refused.push({ id, error })
    }
    for (const { id, error } of refused) {
      expect([error.code, error.message.split('.')[0]]).toEqual([
        'JOURNAL_FULL',
        'The write was refused and nothing was changed',
      ])
      expect(error.hint).toContain('work again by themselves')
      expect(await users.exists(id)).toBe(false)
    }
    await tidemark.flush()
    expect((await tidemark.status()).pending?.events).toBe(0)
    makeRoom()
    // By itself, and soon.
    while ((await refusal(users.insert({ id: 'after', name: text }))) !== null) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await tidemark.flush()
    const seen = []
    for await (const record of tidemark.at('latest').list('users')) seen.push(record)
    expect(names(seen)).toEqual(names(await users.getAll()))
    expect(await tidemark.reachable('latest')).toMatchObject({ verdict: 'yes' })
    await db.disconnect()
  })

  it('shed: writes go on unrecorded, as a gap, and are recorded again when there is room', async () => {
    const { db } = await newDatabase(kind)
    const journal = { directory: join(volume, `shed-${kind}`), whenFull: 'shed' } as const
    const tidemark = new TidemarkPlugin({ store: `file:${home}/shed-${kind}`, journal, seal: { ageMs: 60_000 } })
    await db.usePlugin(tidemark)
    const users = await db.createResource({ name: 'users', attributes: { name: 'string' }, behavior: 'body-overflow' })
    await tidemark.reachable('latest')
    fill()
    let unrecorded = 0
    for (let i = 0; unrecorded < 3; i++) {
      expect(await refusal(users.insert({ id: `u${i}`, name: text }))).toBe(null)
      unrecorded = (await tidemark.status()).pending?.shedWrites ?? 0
    }
    makeRoom()
    for (let i = 0; (await tidemark.status()).pending?.state !== 'recording'; i++) {
      await users.insert({ id: `more${i}`, name: text })
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await users.insert({ id: 'after', name: text })
    await tidemark.flush()
    await tidemark.reachable('latest')
    const seen = []
    for await (const record of tidemark.at('latest').list('users')) seen.push(record)
    expect(names(seen)).toEqual(names(await users.getAll()))
    await db.disconnect()
  })
})

it.skipIf(!hasVolume)(
  'one writer of large records goes on where sealing makes the room that the disk has not',
  async () => {
    const disk = join(home, 'small')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk])
    try {
      const { db } = await newDatabase('memory')
      // Nothing else would seal.
      const seal = { ageMs: 3_600_000, bytes: 1_000_000_000 }
      const tidemark = new TidemarkPlugin({ store: `file:${home}/roomy`, journal: join(disk, 'journal'), seal })
      await db.usePlugin(tidemark)
      const notes = await db.createResource({ name: 'notes', attributes: { text: 'string' }, behavior: 'body-only' })
      const done: string[] = []
      // Twice as much as the disk holds.
      for (let i = 0; done.length < 60; i++) {
        const error = await refusal(notes.insert({ id: `n${i}`, text: 'x'.repeat(50_000) }))
        if (error === null) done.push(`n${i}`)
        else expect(error.code).toBe('JOURNAL_FULL')
      }
      await tidemark.flush()
      const seen: string[] = []
      for await (const { id } of tidemark.at('latest').list('notes')) seen.push(String(id))
      expect(seen.toSorted()).toEqual(done.toSorted())
      await db.disconnect()
    } finally {
      execFileSync('umount', ['-l', disk])
    }
  },
)
