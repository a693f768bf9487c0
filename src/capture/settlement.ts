import { equalBytes } from '../base/bytes.ts'
import type { Intent } from '../format/intent-codec.ts'
import { type Context, fingerprint, type Image, sameImage, unknownImage } from '../model/event.ts'

/** Who is named for a state that was read and that nobody here has written. */
export const OBSERVED: Context = {
  actor: null,
  transaction: null,
  metadata: JSON.stringify({ tidemark: 'observed after a concurrent write of another process' }),
}

/** What is to be stamped of a write: in whose name, and from which state before. */
export interface Settled {
  readonly context: Context
  readonly before: Image | null
}

/**
 * What a write of which nobody knows whether it happened comes to, when the database holds `now`; null where nothing is to
 * be stamped.
 *
 * The write is what the database holds: it happened, and is its writer's. Something else, and not what was there before:
 * somebody wrote after it, or it was torn; nobody is named. An insert that assumed that there was nothing, and is not
 * what is there, was refused or is gone again: what is there has an event of its own. Where others have written meanwhile
 * (`isShared`) the state is stamped all the same where the write may have a part in it: it may have left what was there
 * before in the place of theirs, or half of itself.
 */
export function settled(intent: Omit<Intent, 'intent'>, now: Image | null, isShared: boolean): Settled | null {
  const { before, meant, isAssumed, context, item } = intent
  const isSame = sameImage(before, now)
  // An intent that watches what was stamped: to read just that is all that was still to be done.
  if (isSame && context.metadata === OBSERVED.metadata) return null
  if (meant !== null && equalBytes(meant, fingerprint(now))) return isSame && !isShared ? null : { context, before }
  if (isAssumed && meant !== null) {
    return isShared && now !== null ? { context: OBSERVED, before: unknownImage(item) } : null
  }
  if (isSame) return isShared && meant === null ? { context: OBSERVED, before } : null
  return { context: meant === null ? context : OBSERVED, before }
}
