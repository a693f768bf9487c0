import { equalBytes } from '../base/bytes.ts'
import type { Intent } from '../format/intent-codec.ts'
import { type Context, fingerprint, type Image, sameImage } from '../model/event.ts'

/** Who is named for a state that was read and that nobody here has written. */
export const OBSERVED: Context = {
  actor: null,
  transaction: null,
  metadata: JSON.stringify({ tidemark: 'observed after a concurrent write of another process' }),
}

/**
 * What a write of which nobody knows whether it happened comes to, when the database holds `now`: in whose name what it
 * holds is to be stamped, or null where nothing is.
 *
 * The write is what the database holds: it happened, and is its writer's. Something else, and not what was there before:
 * somebody wrote after it, or it was torn; nobody is named. An insert that assumed that there was nothing, and is
 * not what is there, was refused or is gone again: what is there has an event of its own. Where others have written
 * meanwhile (`isShared`), a write that left what was there before has to be stamped too: it may have replaced theirs.
 */
export function settled(intent: Omit<Intent, 'intent'>, now: Image | null, isShared: boolean): Context | null {
  const { before, meant, isAssumed, context } = intent
  const isSame = sameImage(before, now)
  if (meant !== null && equalBytes(meant, fingerprint(now))) return isSame && !isShared ? null : context
  if (isAssumed && meant !== null) return null
  if (isSame) return isShared && meant === null ? OBSERVED : null
  return meant === null ? context : OBSERVED
}
