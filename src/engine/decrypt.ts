import { utf8 } from '../base/bytes.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { parseStoreLogKey } from '../capture/store-log.ts'
import {
  isClearKey,
  isHeadsKey,
  isNodeKey,
  MANIFEST_FILE,
  parseDrillKey,
  parseLeaseKey,
  parseMergingKey,
  parseReplacedKey,
  parseRunFileKey,
  parseSegmentKey,
  parseTimelineKey,
  prefixOfSnapshotKey,
  STORE_FILE,
} from '../format/keys.ts'
import { encodeStoreFile } from '../format/store-file.ts'
import type { Timeline } from '../model/timeline.ts'
import type { Environment } from '../store/encryption/secret.ts'
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts'
import { describeStore, openStore, type StoreSpec } from '../store/open.ts'
import { TimelineLog } from '../timeline/log.ts'
import { eachNode, eachSegment, type SegmentNodes, segmentNodes } from '../timeline/segments.ts'
import { filesOf } from '../upkeep/run-chains.ts'
import { type OpenStore, openForReading, placeOf } from './opening.ts'

/** What a decryption has written. */
export interface Decryption {
  readonly target: string
  readonly files: number
  readonly bytes: number
}

/** Files of any size are copied in parts of this many bytes. */
const PART_BYTES = 8 * 1024 * 1024

/**
 * Writes the files of an encrypted store, decrypted, into an empty directory, or one in which that was broken off: the same history as a store without
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
  if (opened.storeKey === null) throw inTheClear(opened.name)
  const name = describeStore(target)
  if (!name.startsWith('file:')) throw noDirectory(name)
  const plain = await openStore(target)
  await beginAnew(plain, name)
  const { timeline, copied } = await copySettled(opened, plain, onFile)
  for await (const key of namedBy(timeline, segmentNodes(opened.store))) if (!copied.has(key)) throw missing(key)
  const file = encodeStoreFile({ ...opened.file, storeKey: null })
  await plain.put(STORE_FILE, file)
  await plain.delete([UNFINISHED])
  const bytes = [...copied.values()].reduce((sum, size) => sum + size, file.length)
  return { target: name, files: copied.size + 1, bytes }
}

/** The first file of a copy, and the last to go: a directory that has it was empty when the copy was begun. */
const UNFINISHED = 'decrypt-unfinished'

/** An empty directory, or what a decryption left that was broken off, which goes. Errors: `TARGET_NOT_EMPTY`. */
async function beginAnew(plain: ObjectStore, name: string): Promise<void> {
  const held: string[] = []
  for await (const { key } of plain.list('')) held.push(key)
  const isLeft = held.includes(UNFINISHED)
  const other = held.find((key) => !isLeft || !(key === UNFINISHED || isOfStore(key)))
  if (other !== undefined) throw notEmpty(name, other)
  await plain.put(UNFINISHED, utf8('tidemark decrypt was broken off here: the same command begins anew\n'))
  await plain.delete(held.filter((key) => key !== UNFINISHED))
}

function isOfStore(key: string): boolean {
  const parsers = [
    parseTimelineKey,
    parseLeaseKey,
    parseMergingKey,
    parseReplacedKey,
    parseRunFileKey,
    parseSegmentKey,
    parseRunFileKey,
    parseReplacedKey,
    parseLeaseKey,
    parseMergingKey,
    prefixOfSnapshotKey,
    parseDrillKey,
    parseStoreLogKey,
  ]
  return key === STORE_FILE || isNodeKey(key) || isHeadsKey(key) || parsers.some((parse) => parse(key) !== null)
}

/** Copied so often while records were erased, the copy is given up. */
const MOST_ATTEMPTS = 5

/**
 * Copies every file that is encrypted, and the generations of the timeline last: one that comes meanwhile, with files of
 * its own, is left out. Where a record was erased meanwhile, what went in the store goes in the copy too, and what came
 * is copied. Errors: `ERASURE_RACED` where that does not end.
 */
async function copySettled(
  { store }: OpenStore,
  plain: ObjectStore,
  onFile: (key: string, bytes: number) => void,
): Promise<{ readonly timeline: Timeline; readonly copied: ReadonlyMap<string, number> }> {
  const copied = new Map<string, number>()
  const copy = async ({ key, bytes }: ObjectInfo): Promise<void> => {
    if (copied.has(key)) return
    await plain.put(key, partsOf(store, { key, bytes }))
    copied.set(key, bytes)
    onFile(key, bytes)
  }
  const log = await TimelineLog.open(store)
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    const { timeline } = log
    const listed = new Map<string, ObjectInfo>()
    for await (const info of store.list('')) if (!isClearKey(info.key)) listed.set(info.key, info)
    // What is erased while it is read is gone: then the timeline says so, below.
    const gone = [...copied.keys()].filter((key) => !listed.has(key))
    await plain.delete(gone)
    for (const key of gone) copied.delete(key)
    const generations = [...listed.values()].filter(({ key }) => parseTimelineKey(key) !== null)
    for (const info of listed.values()) if (!generations.includes(info)) await copy(info).catch(ifGone)
    if ((await log.refresh()).erasures.length > timeline.erasures.length) continue
    for (const info of generations) if ((parseTimelineKey(info.key) ?? 0) <= timeline.generation) await copy(info)
    return { timeline, copied }
  }
  throw new TidemarkError('ERASURE_RACED', 'Records were erased each time before the copy was whole: it is none.', {
    hint: 'Remove the directory, and decrypt again when nobody erases.',
  })
}

function ifGone(error: unknown): void {
  if (!hasCode(error, 'OBJECT_NOT_FOUND')) throw error
}

/** The keys without which a timeline is not whole. */
async function* namedBy(
  { segments, snapshots, forgotten = [] }: Timeline,
  nodes: SegmentNodes,
): AsyncGenerator<string> {
  for await (const { key } of eachNode(nodes, segments)) yield key
  for await (const entry of eachSegment(nodes, segments)) yield* filesOf(entry)
  for (const { key } of forgotten) yield key
  for (const { prefix } of snapshots) yield `${prefix}${MANIFEST_FILE}`
}

function missing(key: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', `${key} is named by the timeline, and missing: the copy is not whole.`, {
    hint: 'Run `tidemark verify` on the store; the directory is none and can be removed.',
    details: { key },
  })
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

function inTheClear(name: string): TidemarkError {
  return new TidemarkError(
    'STORE_NOT_ENCRYPTED',
    `The store at ${name} is not encrypted. Nothing was read or written.`,
    {
      hint: 'Its files are as they would be written: copy the directory or the prefix.',
    },
  )
}
