import { hasCode } from '../base/errors.ts'
import { parseHead } from '../model/head.ts'
import { type Verification, verifyStore, withDamage } from '../upkeep/verify.ts'
import type { Archive } from './archive.ts'
import { checkOptions } from './options.ts'
import { verifyRepaired } from './repair.ts'
import type { VerifyOptions } from './tidemark-options.ts'

/** Reads and checks everything in the store, and whether every erased key is gone; see `Tidemark.verify`. */
export async function verifyArchive(archive: Archive, options: VerifyOptions): Promise<Verification> {
  checkOptions('verify', options, ['onFile', 'onDamage', 'onUnreferenced', 'head'])
  const { onFile = () => {}, onDamage = () => {}, onUnreferenced = () => {}, head } = options
  const listeners = { onFile, onDamage, onUnreferenced }
  const noted = head === undefined ? null : parseHead(head)
  const timeline = await archive.refresh().then(({ timeline }) => timeline, ifCorrupt)
  const { store, memory } = archive.seams
  if (timeline === null) return verifyRepaired(store, { memory, listeners, noted })
  const verification = await verifyStore(archive.sources, timeline, listeners, noted)
  const unfinished = await archive.seams.recordKeys?.unfinished()
  if (unfinished == null) return verification
  const { code, message, details } = unfinished
  const damage = { key: String(details.key), code, message }
  await onDamage(damage)
  return withDamage([damage], 1, verification)
}

/** Null where the timeline is damaged: it says nothing then. */
function ifCorrupt(error: unknown): null {
  if (hasCode(error, 'TIMELINE_CORRUPT')) return null
  throw error
}
