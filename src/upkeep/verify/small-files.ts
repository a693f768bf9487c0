import { decodeProof } from '../../format/drill-file.ts'
import { decodeKeySlot } from '../../format/key-slot.ts'
import { DRILL_PREFIX, parseSlotKey, STORE_FILE } from '../../format/keys.ts'
import { decodeStoreFile } from '../../format/store-file.ts'
import { wrongContent } from '../segment-check.ts'
import type { Inspection } from './inspection.ts'

/** Checks the small files that nothing else names, and that carry a checksum of their own. */
export async function verifySmallFiles(inspection: Inspection, keys: Iterable<string>): Promise<void> {
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
    }
  }
}

const WRONG = 'its checksum is wrong'
