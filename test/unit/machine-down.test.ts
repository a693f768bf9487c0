import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { copyJournals, openRig, type Rig } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage, UnsyncedDatabase } from '../support/model-database.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'down-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const warnings = ({ logged }: Rig): string[] => logged.filter((line) => line.includes('The machine went down'))

test.each([
  { what: 'files that nobody syncs', database: new UnsyncedDatabase(), boot: 'another', warned: 1 },
  { what: 'a process that was killed', database: new UnsyncedDatabase(), boot: null, warned: 0 },
  { what: 'a database elsewhere', database: new ModelDatabase(), boot: 'another', warned: 0 },
])('a start after the machine went down says that the database may have lost something: $what', async (one) => {
  const store = new MemoryStore()
  const { database } = one
  const options = { store, database, clock: systemClock }
  const first = await openRig({ ...options, directory: join(home, 'first') })
  await database.write({ kind: 'record', resource: 'r', id: 'a' }, recordImage({ n: 1 }))
  await first.session.complete(null)
  expect(warnings(first)).toHaveLength(0)
  copyJournals(join(home, 'first'), join(home, 'second'))
  await first.timeline.commit(({ streams }) => ({
    putStreams: streams.map((stream) => (one.boot === null ? stream : { ...stream, boot: one.boot })),
  }))
  const second = await openRig({ ...options, directory: join(home, 'second') })
  expect(warnings(second)).toHaveLength(one.warned)
  await second.session.close()
  const third = await openRig({ ...options, directory: join(home, 'second') })
  expect(warnings(third)).toHaveLength(0)
  await third.session.close()
})
