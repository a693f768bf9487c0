import { TidemarkError } from '../base/errors.ts'
import { TimelineLog } from '../capture/timeline-log.ts'
import { isClearKey, parseTimelineKey, STORE_FILE } from '../format/keys.ts'
import { encodeStoreFile } from '../format/store-file.ts'
import type { Environment } from '../store/encryption/secret.ts'
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts'
import { describeStore, openStore, type StoreSpec } from '../store/open.ts'
import { notEncrypted, type OpenStore, openForReading, placeOf } from './opening.ts'

/** What a decryption has written. */
export interface Decryption {
  readonly target: string
  readonly files: number
  readonly bytes: number
}

/** Files of any size are copied in parts of this many bytes. */
const PART_BYTES = 8 * 1024 * 1024

/**
 * Writes the files of an encrypted store, decrypted, into an empty directory: the same history as a store without
 * encryption. What refers to other files comes after them, and what makes it a store comes last, so that half of it is
 * never taken for one. Every file is authenticated on the way. Errors: `TARGET_NOT_EMPTY`, `TARGET_INVALID`,
 * `STORE_NOT_ENCRYPTED`, `ENCRYPTION_KEY_*`, `OBJECT_CORRUPT`.
 */
export async function decryptStore(
  spec: string | StoreSpec,
  target: string,
  environment: Environment,
  onFile: (key: string, bytes: number) => void = () => {},
): Promise<Decryption> {
  const opened = await openForReading(await placeOf(spec, environment))
  if (opened.storeKey === null) throw notEncrypted(opened.name)
  const name = describeStore(target)
  if (!name.startsWith('file:')) throw noDirectory(name)
  const plain = openStore(target)
  for await (const { key } of plain.list('')) throw notEmpty(name, key)
  const written = { files: 0, bytes: 0 }
  for await (const info of inOrder(opened)) {
    await plain.put(info.key, partsOf(opened.store, info))
    written.files++
    written.bytes += info.bytes
    onFile(info.key, info.bytes)
  }
  const file = encodeStoreFile({ ...opened.file, storeKey: null })
  await plain.put(STORE_FILE, file)
  return { target: name, files: written.files + 1, bytes: written.bytes + file.length }
}

/** Every file that is encrypted. A generation of the timeline that comes meanwhile, with files of its own, is left out. */
async function* inOrder({ store }: OpenStore): AsyncGenerator<ObjectInfo> {
  const { timeline } = await TimelineLog.open(store)
  const generations: ObjectInfo[] = []
  for await (const info of store.list('')) {
    const generation = parseTimelineKey(info.key)
    if (generation === null && !isClearKey(info.key)) yield info
    if (generation !== null && generation <= timeline.generation) generations.push(info)
  }
  yield* generations
}

async function* partsOf(store: ObjectStore, { key, bytes }: ObjectInfo): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes || start === 0; start += PART_BYTES) {
    yield await store.get(key, { start, end: Math.min(bytes, start + PART_BYTES) })
  }
}

function notEmpty(target: string, key: string): TidemarkError {
  return new TidemarkError('TARGET_NOT_EMPTY', `${target} holds files already (${key}). Nothing was written.`, {
    hint: 'Give an empty or a new directory.',
    details: { target, file: key },
  })
}

function noDirectory(target: string): TidemarkError {
  return new TidemarkError('TARGET_INVALID', `${target} is no directory of this machine. Nothing was written.`, {
    hint: 'Give --target file:./plain or a path; copy it from there with your own tools.',
    details: { target },
  })
}
