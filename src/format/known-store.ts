import { utf8 } from '../base/bytes.ts'
import type { StreamEntry } from '../model/timeline.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'
import { decodeKeySlot, encodeKeySlot, type KeySlot } from './key-slot.ts'
import { sealJson, unsealJson } from './sealed-json.ts'
import { decodeStoreFile, encodeStoreFile, type StoreFile } from './store-file.ts'
import { isStreamEntry } from './timeline-shape.ts'

/** `<journal>/<store id>/store.json`: what a start needs of a store that cannot be reached. */
export interface KnownStore {
  /** The places at which it was reached, as they are told to people, without secrets; the last one is the latest. */
  readonly locations: readonly string[]
  readonly file: StoreFile
  /** The slots that the secret of the last start opened; none where nothing is encrypted. */
  readonly slots: readonly KeySlot[]
  /** The greatest stamp of its timeline when it was read last. */
  readonly through: Ulid
}

/** The bytes of `store.json`. */
export function encodeKnownStore({ locations, file, slots, through }: KnownStore): Uint8Array {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
  return sealJson({
    format: 1,
    locations,
    through,
    store: text(encodeStoreFile(file)),
    keys: slots.map((slot) => text(encodeKeySlot(slot))),
  })
}

/** Reads the bytes of `store.json`; null where its checksum is wrong or it is not of this format. */
export function decodeKnownStore(bytes: Uint8Array): KnownStore | null {
  const { format, locations, through, store, keys } = unsealJson(bytes) ?? {}
  if (format !== 1 || !areTexts(locations) || typeof through !== 'string' || !isUlid(through)) return null
  const file = typeof store === 'string' ? decodeStoreFile(utf8(store)) : null
  if (file === null || !Array.isArray(keys)) return null
  const slots: KeySlot[] = []
  for (const key of keys) {
    const slot = typeof key === 'string' ? decodeKeySlot(utf8(key)) : null
    if (slot === null) return null
    slots.push(slot)
  }
  return { locations, file, slots, through }
}

function areTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/** The bytes of `<stream>/entry.json`: the entry of a stream that is not in the timeline yet. */
export function encodeWaitingEntry(entry: StreamEntry): Uint8Array {
  return sealJson({ format: 1, entry })
}

/** Reads the bytes of `entry.json`; null where its checksum is wrong or it is not of this format. */
export function decodeWaitingEntry(bytes: Uint8Array): StreamEntry | null {
  const { format, entry } = unsealJson(bytes) ?? {}
  return format === 1 && isStreamEntry(entry) ? entry : null
}
