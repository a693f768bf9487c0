import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { enterLeft } from '../../src/engine/stream-opening.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { Body, PutOptions } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { openRig } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'stale-takeover-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

class MovableStore extends MemoryStore {
  isAway = false

  override async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (this.isAway) throw new TidemarkError('STORE_UNAVAILABLE', 'It is away.', { hint: 'Try again.' })
    return super.put(key, body, options)
  }
}

test('a stream that another process took over and left, since the timeline was read, is taken over as that left it', async () => {
  const store = new MovableStore()
  const database = new ModelDatabase()
  const directory = join(home, 'journals')
  const item = { kind: 'record', resource: 'r', id: 'x' } as const
  const timeline = await TimelineLog.open(store)
  for (let n = 1; n <= 2; n++) {
    const { session, archive } = await openRig({ store, database, directory, clock: systemClock })
    await database.write(item, recordImage({ n }))
    await session.complete(null)
    await database.write(item, recordImage({ n: n + 10 }))
    // It ends as one that is killed does: its stream is open, and its journal holds an event.
    store.isAway = true
    await expect(session.close()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    store.isAway = false
    archive.close()
    if (n === 1) await timeline.refresh()
  }
  const seams = { store, timeline, clock: systemClock, ack: 'journal', directory, encrypt: false } as const
  const [left, ...others] = await enterLeft(seams, new AbortController().signal)
  expect([left?.recovered.unsealedEvents, left?.entry.lastSequence, others.length]).toEqual([1, 3, 0])
  await left?.release()
})
