import { describe, expect, it } from 'vitest'
import { createSource } from '../../src/s3db/source.ts'
import { RecordingSink, replay } from '../support/recording-sink.ts'
import { essential, KINDS_OF_CLIENT, newDatabase, settled } from '../support/s3db.ts'
import { SCHEMA_KEY, storedState } from '../support/stored-state.ts'
import { Workload } from '../support/workload.ts'

describe.each(KINDS_OF_CLIENT)('a random concurrent workload on %s://', (kind) => {
  it.each([1, 2, 3])('is captured without a hole, seed %i', async (seed) => {
    const { db, stored } = await newDatabase(kind)
    const sink = new RecordingSink()
    const detach = createSource(db).attach(sink)
    const workload = new Workload(db, { seed })
    await workload.prepare()
    await workload.run(kind === 'memory' ? 600 : 250)
    await settled()
    expect(await workload.read()).toEqual(workload.expected())
    const { state, breaks } = replay(sink.changes)
    expect(breaks).toEqual([])
    const bytes = essential(await stored())
    bytes.delete(SCHEMA_KEY)
    expect(storedState(state)).toEqual(bytes)
    detach()
  })
})
