import type { Waited } from '../model/pruned.ts'

/*
 * How long something has waited, when no clock can be trusted: each look at it notes what the clock of that machine says. One
 * of these may be wrong by any amount, or one clock may be set forward between two looks; that shows in one step between two
 * looks. So the longest step does not count. Where a clock shows less than the one before, one of both is wrong and nobody
 * knows which: it waits anew.
 */

/** Clocks that are kept differ by less, milliseconds: by so little none goes back. */
const APART_MS = 60_000

/** What begins to wait at a time. */
export function waitingFrom(ms: number): Waited {
  return { from: ms, through: ms, longest: 0 }
}

/** The same after one more look, by a clock that shows `nowMs`. */
export function lookedAt(before: Waited, nowMs: number): Waited {
  if (waitsAnew(before, nowMs)) return waitingFrom(nowMs)
  const { from, through, longest } = before
  const shown = Math.max(through, nowMs)
  return { from, through: shown, longest: Math.max(longest, shown - through) }
}

/** Whether a clock contradicts the one before it. */
export function waitsAnew({ through }: Waited, nowMs: number): boolean {
  return nowMs < through - APART_MS
}

/** How long it has waited for certain, milliseconds, unless two clocks were wrong. */
export function provenWait({ from, through, longest }: Waited): number {
  return through - from - longest
}

/** Whether a look is to be noted: of a grace four are, and each one that a clock went back for. */
export function isNoteworthy(before: Waited, after: Waited, graceMs: number): boolean {
  return after.through < before.through || after.through - before.through >= graceMs / 4
}
