import { TidemarkError } from '../base/errors.ts'
import type { Hold } from '../model/hold.ts'
import { newUlid, type Ulid } from '../model/ulid.ts'
import { type Moment, parseMoment } from '../restore/moment.ts'
import { requireUnpruned } from '../restore/pruned-error.ts'
import type { Archive } from './archive.ts'
import { checkOptions, checkText, invalidOption } from './options.ts'

/** What is held, for how long, and why. */
export interface HoldOptions {
  readonly from: Moment
  /** Every moment from `from` to this one is held. Default: `from` alone. */
  readonly through?: Moment
  /** When it ends by itself: RFC 3339, epoch milliseconds, or a `Date`. Default: when it is released. */
  readonly until?: string | number | Date
  readonly reason: string
  /** Who asks for it. */
  readonly name?: string
}

const NAMES = ['from', 'through', 'until', 'reason', 'name']

/**
 * Keeps moments reachable, whatever the policy says. Errors: those of a moment that cannot be reached; `OPTION_INVALID`.
 */
export async function addHold(archive: Archive, options: HoldOptions): Promise<Hold> {
  checkOptions('hold', options, NAMES)
  checkText('hold', 'reason', options.reason ?? '')
  checkText('hold', 'name', options.name)
  const { timeline, clock } = archive.seams
  const until = options.until === undefined ? null : untilOf(options.until)
  const { bound: first } = await archive.reach(options.from)
  const { bound: last } = options.through === undefined ? { bound: first } : await archive.reach(options.through)
  if (last.ulid < first.ulid) throw invalidOption('hold', 'through lies before from', ['a later moment'])
  const { reason, name = null } = options
  const id = newUlid(clock.now())
  const hold: Hold = { id, from: first.ulid, through: last.ulid, until, reason, by: name }
  await timeline.commit((known) => {
    for (const moment of [hold.from, hold.through]) requireUnpruned(known, moment)
    return { addHold: hold }
  })
  return hold
}

/** Ends a hold; what was kept for it alone may go from now on. Errors: `HOLD_NOT_FOUND`. */
export async function endHold({ seams: { timeline } }: Archive, id: string): Promise<void> {
  checkText('release', 'id', id ?? '')
  await timeline.refresh()
  await timeline.commit(({ holds = [] }) => {
    if (holds.some((one) => one.id === id)) return { endHold: id }
    throw new TidemarkError('HOLD_NOT_FOUND', `There is no hold ${id}. Nothing was changed.`, {
      hint: 'tidemark hold list shows every hold with its id.',
      details: { id },
    })
  })
}

/** The end of a hold. It may lie in the future, and a mark or an event is no time. */
function untilOf(until: string | number | Date): Ulid {
  const bound = parseMoment(until)
  if (bound?.event === null) return bound.ulid
  throw invalidOption('hold', 'until is no time', ['a time with its zone (2027-01-01T00:00:00Z)'])
}
