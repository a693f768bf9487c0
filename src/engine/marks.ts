import { TidemarkError } from '../base/errors.ts'
import { didYouMean, nearestNames } from '../base/nearest.ts'
import { isMarkName, type Mark } from '../model/mark.ts'
import { newUlid } from '../model/ulid.ts'
import type { Moment } from '../restore/moment.ts'
import { requireUnpruned } from '../restore/pruned-error.ts'
import type { Archive } from './archive.ts'
import { checkOptions, checkText } from './options.ts'

/** Which moment is marked. */
export interface MarkOptions {
  /** Default: `latest`, the end of what was acknowledged. */
  readonly at?: Moment
}

/**
 * Gives a moment a name. Errors: those of a moment that cannot be reached; `OPTION_INVALID` for what is no name;
 * `MARK_EXISTS` where another moment has it.
 */
export async function putMark(archive: Archive, name: string, options: MarkOptions): Promise<Mark> {
  checkOptions('mark', options, ['at'])
  checkText('mark', 'name', name ?? '')
  if (!isMarkName(name)) throw noName(name)
  const { timeline, clock } = archive.seams
  const { bound } = await archive.reach(options.at ?? 'latest')
  const mark: Mark = { name, ulid: bound.ulid, at: newUlid(clock.now()) }
  const { marks } = await timeline.commit((known) => {
    const there = known.marks?.find((one) => one.name === name)
    if (there?.ulid === mark.ulid) return null
    if (there !== undefined) throw exists(there)
    requireUnpruned(known, mark.ulid)
    return { putMark: mark }
  })
  return marks?.find((one) => one.name === name) ?? mark
}

/** Removes a mark; what was kept for it alone may go from now on. Errors: `MARK_NOT_FOUND`. */
export async function removeMark({ seams: { timeline } }: Archive, name: string): Promise<void> {
  checkText('unmark', 'name', name ?? '')
  await timeline.refresh()
  await timeline.commit(({ marks = [] }) => {
    if (marks.some((one) => one.name === name)) return { removeMark: name }
    throw noSuchMark(name, marks)
  })
}

function noName(name: string): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    `A mark cannot be called ${JSON.stringify(name.slice(0, 100))}. Nothing was changed.`,
    {
      hint:
        'Give a letter and then letters, digits, and single . _ or - between them, 64 at most; not a ULID, nor a word that means something ' +
        'where a moment stands (latest, before, random, now, list, remove).',
    },
  )
}

function exists({ name, ulid }: Mark): TidemarkError {
  return new TidemarkError('MARK_EXISTS', `There is a mark ${name} of another moment, ${ulid}. Nothing was changed.`, {
    hint: `Take another name; or, where that moment need not be kept any more: tidemark mark remove ${name}`,
    details: { name, ulid },
  })
}

function noSuchMark(name: string, marks: readonly Mark[]): TidemarkError {
  const names = marks.map((mark) => mark.name)
  return new TidemarkError('MARK_NOT_FOUND', `There is no mark ${name}. Nothing was changed.`, {
    hint: `${didYouMean(nearestNames(name, names))}tidemark mark list shows every mark.`,
    details: { name },
  })
}
