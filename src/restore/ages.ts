import type { Run } from './run.ts'

/** How the stamps of a run stand to those of the others of a merge. */
export interface Age {
  /** Whatever is in the younger one of two is later. */
  readonly age: number
  /** Whether others have the same age: what is later there, the stamps of the rows say. */
  readonly isShared: boolean
}

/**
 * The ages of runs, in their order. Segments of one stream, and whatever else follows one another, need no look at the
 * stamp of any row.
 */
export function agesOf(runs: readonly Run[]): readonly Age[] {
  const order = runs.map((_, index) => index)
  const firstOf = (index: number): string => runs[index]?.stamps.first ?? ''
  order.sort((a, b) => (firstOf(a) < firstOf(b) ? -1 : 1))
  const ages: Age[] = []
  let [age, last] = [-1, '']
  let together: number[] = []
  const close = (): void => {
    for (const index of together) ages[index] = { age, isShared: together.length > 1 }
    age++
    together = []
  }
  for (const index of order) {
    const stamps = runs[index]?.stamps
    if (stamps === undefined) continue
    // Where one begins with the stamp that another ends with, it is the same event, or nothing has it.
    if (stamps.first >= last) close()
    together.push(index)
    if (stamps.last > last) last = stamps.last
  }
  close()
  return ages
}
