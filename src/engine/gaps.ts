import { TidemarkError } from '../base/errors.ts'
import type { Acknowledgement, Gap, KnownGap } from '../model/gap.ts'
import { UlidGenerator } from '../model/ulid.ts'
import { gapsOf, isAcknowledged } from '../restore/gaps.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { checkOptions, checkText } from './options.ts'

/** Which gap is acknowledged, why, and by whom. */
export interface AcknowledgeOptions {
  readonly stream: string
  readonly firstSequence: number
  /** Null: a gap of which nobody knows the end. */
  readonly lastSequence: number | null
  readonly reason: string
  readonly name: string
}

const NAMES = ['stream', 'firstSequence', 'lastSequence', 'reason', 'name']

/**
 * Notes in the timeline that somebody knows of the gaps between these sequences: restores go on without their events
 * from now on, and say so. Returns them. Errors: `GAP_NOT_FOUND`, `OPTION_INVALID`.
 */
export async function acknowledgeGap(
  timeline: TimelineLog,
  now: () => number,
  options: AcknowledgeOptions,
): Promise<readonly KnownGap[]> {
  checkOptions('acknowledgeGap', options, NAMES)
  const { stream, firstSequence, lastSequence, reason, name } = options
  for (const [what, text] of Object.entries({ stream, reason, name })) checkText('acknowledgeGap', what, text ?? '')
  await timeline.refresh()
  const after = await timeline.commit((known) => {
    const found = gapsOf(known).filter((gap) => isMeant(gap, options))
    if (found.length === 0) throw noSuchGap(options, gapsOf(known))
    if (found.every(isAcknowledged)) return null
    const ulids = new UlidGenerator(now)
    for (const { beforeUlid } of found) ulids.advanceTo(beforeUlid)
    const made: Acknowledgement = { stream, firstSequence, lastSequence, reason, by: name, at: ulids.next() }
    return { addAcknowledgements: [made] }
  })
  return gapsOf(after).filter((gap) => isMeant(gap, options))
}

function isMeant(gap: Gap, { stream, firstSequence, lastSequence }: AcknowledgeOptions): boolean {
  if (gap.stream !== stream) return false
  if (gap.lastSequence === null || lastSequence === null) {
    return gap.lastSequence === lastSequence && gap.firstSequence === firstSequence
  }
  return gap.firstSequence >= firstSequence && gap.lastSequence <= lastSequence
}

function noSuchGap({ stream, firstSequence, lastSequence }: AcknowledgeOptions, gaps: readonly Gap[]): TidemarkError {
  const range = `${firstSequence}-${lastSequence ?? ''}`
  const others = gaps.filter((gap) => gap.stream === stream)
  const known = others.map((gap) => `${gap.firstSequence}-${gap.lastSequence ?? ''}`).join(', ')
  return new TidemarkError('GAP_NOT_FOUND', `Stream ${stream} has no gap within ${range}. Nothing was acknowledged.`, {
    hint: `${others.length === 0 ? 'It has none at all' : `Its gaps: ${known}`}; tidemark gap list shows every gap.`,
    details: { stream, firstSequence, lastSequence },
  })
}
