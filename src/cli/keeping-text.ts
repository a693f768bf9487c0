import type { Keeping } from '../store/keeping.ts'
import type { Undeleted } from '../store/refusals.ts'
import { plural, printable } from './format.ts'

/** What a store keeps of what is deleted, and what to do, for people; none where it keeps nothing. */
export function keepingLines(keeping: Keeping): string[] {
  if (keeping.versions === 'none') return []
  if (keeping.versions === 'unknown')
    return [`older versions: whether the store keeps what is deleted is not known: ${printable(keeping.why)}`]
  const { expireDays, lockedUntil, todo } = keeping
  return [
    `older versions: the store keeps what is deleted, with its content, ${howLong(expireDays)}${lockText(lockedUntil)}`,
    `  ${printable(todo)}`,
  ]
}

function howLong(days: number | null | 'unknown'): string {
  if (days === null) return 'for ever: no rule of it lets older versions go'
  return days === 'unknown' ? 'and its rules for how long may not be read' : `for ${plural(days, 'day')}`
}

function lockText(until: string | null): string {
  if (until === null) return ''
  return until === 'held' ? '; some are under a legal hold' : `; some are locked until ${until}`
}

/** Of files that were refused so many are named; `--json` has all. */
const MOST_NAMED = 20

/** What is said of files that the store did not let go. */
export function refusalLines(refused: readonly Undeleted[]): string[] {
  const more = refused.length - MOST_NAMED
  const lines = refused.slice(0, MOST_NAMED).map(({ key, message, until }) => {
    const end = until === null ? '' : until === 'held' ? ' (under a legal hold)' : ` (locked until ${until})`
    return `not deleted: ${printable(key)}, tried again next time: ${printable(message)}${end}`
  })
  return more > 0 ? [...lines, `  and ${more} more (--json has all)`] : lines
}
