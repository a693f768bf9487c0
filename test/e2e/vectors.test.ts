import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { formatHead } from '../../src/model/head.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { VectorDatabase } from '../../tools/vectors/database.ts'
import { eventOf, rowOf, type StateRow } from '../../tools/vectors/expected.ts'
import { expectedJournal, expectedStore, PASSPHRASE, VECTORS } from '../support/vectors.ts'

let home = ''
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'vectors-'))
  cpSync(VECTORS, home, { recursive: true })
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Hash and path of every file of a directory, as `sha256sum` tells them. */
function sumsOf(directory: string, part: string): string[] {
  return readdirSync(join(directory, part), { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .map(
      (path) => `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${path.slice(directory.length + 1)}`,
    )
    .sort()
}

const STORES = ['plain', 'encrypted', 'record-keys', 'late-and-lost', 'merged']
const JOURNALS = ['journal', 'encrypted-journal', 'store-journal']

function specOf(name: string): StoreSpec {
  return {
    url: `file:${home}/${name}/store`,
    ...(name.startsWith('encrypted') ? { encryption: { passphrase: PASSPHRASE } } : {}),
    ...(name === 'record-keys' ? { recordKeys: `file:${home}/${name}/keyring` } : {}),
  }
}

/** Of SHA256SUMS: who makes the vectors anew says so here too, and why in the commit. */
const MADE = '7d43753849ca2b0f16d58a233afa1951d582caf23d12fc4daab6568e8e23dd6a'

test('no byte of the vectors has changed, and none of them is missing', () => {
  const sums = readFileSync(join(VECTORS, 'SHA256SUMS'), 'utf8')
  expect(createHash('sha256').update(sums).digest('hex')).toBe(MADE)
  const listed = sums.trimEnd().split('\n')
  expect([...STORES, ...JOURNALS].flatMap((name) => sumsOf(VECTORS, name)).sort()).toEqual(listed.sort())
})

describe.each(STORES)('Tidemark reads %s as it was written', (name) => {
  const expected = expectedStore(name)

  test('states, histories, head and gaps', async () => {
    const before = sumsOf(home, name)
    const tidemark = await Tidemark.open({ store: specOf(name) })
    const alarms = expected.gaps.filter(({ acknowledged }) => acknowledged === null).map(() => 'HISTORY_GAP')
    expect((await tidemark.verify()).damage.map(({ code }) => code)).toEqual(alarms)
    expect(formatHead(await tidemark.head())).toBe(expected.head)
    expect((await tidemark.gaps()).map(({ interval: _, ...gap }) => gap)).toEqual(expected.gaps)
    expect((await tidemark.reachable('latest')).moment.ulid).toBe(expected.latest)
    for (const { label, moment, bound, items } of expected.states) {
      expect((await tidemark.reachable(moment)).moment.ulid, label).toBe(bound)
      const state = listOf(tidemark.at(moment).states(), rowOf)
      if (items === null) await expect(state, label).rejects.toMatchObject({ code: 'HISTORY_GAP' })
      else expect(await state, label).toEqual(items)
    }
    for (const { kind, resource, id, events } of expected.histories) {
      const history = listOf(tidemark.history(resource, id, kind), eventOf)
      if (alarms.length > 0) await expect(history, id).rejects.toMatchObject({ code: 'HISTORY_GAP' })
      else expect(await history, id).toEqual(events)
    }
    await tidemark.close()
    expect(sumsOf(home, name)).toEqual(before) // looking writes nothing
  })
})

test.each(JOURNALS)(
  'Tidemark settles the %s of a killed process: what happened becomes an event, what did not leaves none',
  async (name) => {
    const { held, gaps, events, settled } = expectedJournal(name)
    const source = new VectorDatabase(held.map(stateOf))
    const store = specOf(name)
    const logger = createLogger('silent')
    const ack = name === 'store-journal' ? 'store' : 'journal'
    // Nobody answers at the door of a process that is dead; without the door, it may be a living one of another machine.
    const door = await doorIn(store)
    if (door !== undefined) {
      mkdirSync(dirname(door), { recursive: true })
      writeFileSync(door, '')
    }
    const tidemark = await Tidemark.capture({ store, source, journal: `${home}/${name}/journal`, ack, logger })
    if (door !== undefined) rmSync(VECTOR_WORK, { recursive: true })
    const found = []
    for (const id of new Set(held.map(([, , id]) => id).concat('bob'))) {
      for await (const event of tidemark.history('users', id)) found.push({ id, ...eventOf(event) })
    }
    const of = (list: readonly { id: string }[]): unknown[] => list.map((one) => JSON.stringify(one)).sort()
    const known = new Set(events.map(({ ulid }) => ulid))
    expect(of(found.filter(({ ulid }) => known.has(ulid)))).toEqual(of(events))
    const made = found.filter(({ ulid }) => !known.has(ulid))
    expect(of(made.map(({ ulid: _, stream: __, sequence: ___, ...told }) => told))).toEqual(of(settled))
    expect(await tidemark.gaps()).toEqual(gaps)
    expect(await listOf(tidemark.at('latest').states(), rowOf)).toEqual(held)
    await tidemark.close()
  },
)

/** Where `make-vectors` had its processes. */
const VECTOR_WORK = '/tmp/tidemark-vectors'

/** The door of a stream whose journal is in the store. */
async function doorIn(store: StoreSpec): Promise<string | undefined> {
  const tidemark = await Tidemark.open({ store })
  const { streams } = await tidemark.status()
  await tidemark.close()
  return streams.find(({ journal }) => journal.kind === 'store')?.door
}

async function listOf<T, U>(all: AsyncIterable<T>, map: (one: T) => U): Promise<U[]> {
  const list: U[] = []
  for await (const one of all) list.push(map(one))
  return list
}

function stateOf([kind, resource, id, json, raw]: StateRow): ItemState {
  const image = {
    json: new Uint8Array(Buffer.from(json)),
    raw: raw === null ? null : new Uint8Array(Buffer.from(raw, 'base64')),
  }
  return { kind, resource, id, image }
}
