import type { CommitPace } from '../../src/capture/commit-pace.ts'

/** Commits that follow one another as chance says: nothing may rest on the order. */
export function randomPace(next: () => number): CommitPace {
  return { begun: () => {}, ended: () => ({ overlaps: next() < 0.5, splits: next() < 0.5 }) }
}
