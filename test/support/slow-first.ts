import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { ROOT } from './cli.ts'

/** What takes longest, mostly waiting, and what takes most of the processor: begun late, it would run alone at the end. */
const LONGEST = [
  'e2e/s3-outage',
  'e2e/readme',
  'e2e/start-away',
  'e2e/restore-killed',
  'contract/object-store',
  'e2e/signals',
  'e2e/crash',
  'e2e/adapters',
  'campaign/faults',
  'e2e/least-privilege',
  'e2e/package',
  'e2e/reconcile-writers',
  'e2e/hostile-store',
  'contract/source',
  'e2e/demo',
  'e2e/two-processes',
  'e2e/secrets',
].map((name) => `test/${name}.test.ts`)

/** The longest first; of the others those first that took longest the last time, or are largest: a new machine knows no last time. */
export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = LONGEST.filter((path) => !existsSync(join(ROOT, path)))
    if (gone.length > 0) throw new Error(`slow-first.ts names files that are not there: ${gone.join(', ')}`)
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.indexOf(relative(ROOT, moduleId))
      return at < 0 ? LONGEST.length : at
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}
