import type { Timeline } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Files that are asked for at once. */
const ASKED_AT_ONCE = 16

/**
 * Whether files that an attempt has put may still be named by a commit on this timeline. A pruning may have taken them for left
 * over: it says so in a commit, and deletes them only after that. So whoever asks within each try of his own commit sees either
 * that they are condemned, or that they are gone.
 */
export async function areStillThere(
  store: Pick<ObjectStore, 'head'>,
  { condemned = [] }: Timeline,
  keys: readonly string[],
): Promise<boolean> {
  const going = condemned.map(({ key }) => key)
  if (going.some((name) => keys.some((key) => key === name || (name.endsWith('/') && key.startsWith(name)))))
    return false
  for (let at = 0; at < keys.length; at += ASKED_AT_ONCE) {
    const found = await Promise.all(keys.slice(at, at + ASKED_AT_ONCE).map((key) => store.head(key)))
    if (found.includes(null)) return false
  }
  return true
}
