import { expect, test } from 'vitest'
import { s3ForTests } from '../support/s3.ts'
import { soak } from './soak.ts'

// The S3 server of a soak is its own; it is there where that of the tests is.
test.skipIf(s3ForTests() === null)('a short soak accounts for every acknowledged write', async () => {
  const { tally } = await soak({ minutes: 0.3, seed: Number(process.env.TIDEMARK_SEED ?? 1) })
  for (const kind of ['kills', 'acknowledged writes', 'streams', 'changes to restore'])
    expect(tally.of(kind), kind).toBeGreaterThan(0)
})
