import { hasCode } from '../../base/errors.ts'
import { decodeProof } from '../../format/drill-file.ts'
import { decodeKeySlot } from '../../format/key-slot.ts'
import {
  DRILL_PREFIX,
  parseLeaseKey,
  parseMergingKey,
  parseReplacedKey,
  parseSlotKey,
  STORE_FILE,
} from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import { decodeStoreFile } from '../../format/store-file.ts'
import { decodeLease } from '../compaction/lease.ts'
import { readReplaced } from '../replaced-files.ts'
import { wrongContent } from '../segment-check.ts'
import type { Inspection } from './inspection.ts'

/**
 * Checks the small files that nothing else names, and that carry a checksum of their own. Returns the files that merges have
 * replaced, with how many erasures by rewriting there were then.
 */
export async function verifySmallFiles(
  inspection: Inspection,
  keys: Iterable<string>,
): Promise<ReadonlyMap<string, number>> {
  const replaced = new Map<string, number>()
  await inspection.guard(STORE_FILE, async () => {
    if (decodeStoreFile(await inspection.read(STORE_FILE)) === null) throw wrongContent(STORE_FILE, WRONG)
  })
  for (const key of keys) {
    const slot = parseSlotKey(key)
    if (slot !== null) {
      await inspection.guard(key, async () => {
        if (decodeKeySlot(await inspection.read(key))?.id !== slot) throw wrongContent(key, 'it is no key slot')
      })
    } else if (key.startsWith(DRILL_PREFIX)) {
      await inspection.guard(key, async () => {
        if (decodeProof(key, await inspection.read(key)) === null) throw wrongContent(key, WRONG)
      })
    } else if (parseReplacedKey(key) !== null) {
      await inspection.guard(key, async () => {
        const list = await readReplaced({ get: (name) => inspection.read(name) }, key).catch(ifGone)
        for (const file of list?.keys ?? []) replaced.set(file, list?.erasures ?? 0)
      })
    } else if (parseMergingKey(key) !== null) {
      await inspection.guard(key, async () => {
        const bytes = await inspection.read(key).catch(ifGone)
        if (bytes !== null && unsealJson(bytes) === null) throw wrongContent(key, WRONG)
      })
    } else if (parseLeaseKey(key) !== null) {
      await inspection.guard(key, async () => {
        const bytes = await inspection.read(key).catch(ifGone)
        if (bytes !== null && decodeLease(bytes) === null) throw wrongContent(key, WRONG)
      })
    }
  }
  return replaced
}

/** Lists and leases go when they have served. */
function ifGone(error: unknown): null {
  if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
  throw error
}

const WRONG = 'its checksum is wrong'
