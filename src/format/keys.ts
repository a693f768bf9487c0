import { sha256, utf8 } from '../base/bytes.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'

/*
 * Every key in the store, format and parse side by side. Numbers have a fixed width, so that a listing is an index.
 *
 *   tidemark.json
 *   timeline/<generation, 12 digits>.json
 *   node/<generation, 12 digits>-<nonce>.json
 *   heads/<first generation, 12 digits>-<last generation, 12 digits>-<nonce>.bin
 *   segment/<stream>/00/<first sequence, 16 digits>-<last sequence, 16 digits>-<nonce>.parquet
 *   segment/<run>/<level, 2 digits>/<file, 4 digits>-<nonce>.parquet, segment/<run>/<level, 2 digits>/chain-<nonce>.json.gz,
 *   segment/<run>/<level, 2 digits>/index-<nonce>.bin
 *   replaced/<ulid>.json
 *   merging/<run>.json
 *   lease/compaction-<number, 12 digits>.json
 *   snapshot/<ulid>[-<nonce>]/s3db.json, snapshot/<ulid>[-<nonce>]/<resource, percent-encoded>.jsonl.gz
 *   drill/<ulid>.json
 *   key/<ulid>.json                                   (encrypted stores only)
 *   journal/<stream>/<frame, 16 digits>.frame         (ack: 'store' only)
 *
 * and in the place of the record keys, which is another store:
 *
 *   keyring/<generation, 12 digits>.json
 */

/** What this store is. */
export const STORE_FILE = 'tidemark.json'
/** Of every timeline key. */
export const TIMELINE_PREFIX = 'timeline/'
/** Of what drills have proven. */
export const DRILL_PREFIX = 'drill/'
/** Of the keys that open an encrypted store. */
export const SLOT_PREFIX = 'key/'
/** Of every segment. */
export const SEGMENT_PREFIX = 'segment/'
/** Of every file of a snapshot. */
export const SNAPSHOT_PREFIX = 'snapshot/'
/** Name of the manifest in a snapshot. */
export const MANIFEST_FILE = 's3db.json'

/** Of the number of a generation. */
export const GENERATION_DIGITS = 12
const SEQUENCE_DIGITS = 16

/** Key of a key slot. */
export function slotKey(id: Ulid): string {
  return `${SLOT_PREFIX}${id}.json`
}

/** The id of a key slot, or null where the key is none of one. */
export function parseSlotKey(key: string): Ulid | null {
  const id = /^key\/([^/]+)\.json$/.exec(key)?.[1]
  return id !== undefined && isUlid(id) ? id : null
}

/** Whether the object under this key is in clear in an encrypted store: what it takes to find the key for the others. */
export function isClearKey(key: string): boolean {
  return key === STORE_FILE || parseSlotKey(key) !== null
}

/** Key of a generation of the timeline. */
export function timelineKey(generation: number): string {
  return `${TIMELINE_PREFIX}${String(generation).padStart(GENERATION_DIGITS, '0')}.json`
}

/** The generation of a timeline key, or null where the key is no timeline key. */
export function parseTimelineKey(key: string): number | null {
  const match = /^timeline\/(\d{12})\.json$/.exec(key)
  return match?.[1] === undefined ? null : Number(match[1])
}

/** Of the lists of heads of generations whose files went. */
export const HEADS_PREFIX = 'heads/'

/** Key of the heads of the generations from `first` to `last`. */
export function headsKey(first: number, last: number, nonce: string): string {
  const digits = (generation: number): string => String(generation).padStart(GENERATION_DIGITS, '0')
  return `${HEADS_PREFIX}${digits(first)}-${digits(last)}-${nonce}.bin`
}

/** Whether a key is one of a list of heads. */
export function isHeadsKey(key: string): boolean {
  return /^heads\/\d{12}-\d{12}-[0-9a-f]{8}\.bin$/.test(key)
}

/** Of every node of the catalogue. */
export const NODE_PREFIX = 'node/'

/** Key of a node of the catalogue that was written for a generation; the nonce is another one at each attempt. */
export function nodeKey(generation: number, nonce: string): string {
  return `${NODE_PREFIX}${String(generation).padStart(GENERATION_DIGITS, '0')}-${nonce}.json`
}

/** The generation that a node was written for, or null where the key is none of a node. */
export function nodeGeneration(key: string): number | null {
  const match = /^node\/(\d{12})-[0-9a-f]{8}\.json$/.exec(key)
  return match?.[1] === undefined ? null : Number(match[1])
}

/** Whether a key is one of a node. */
export function isNodeKey(key: string): boolean {
  return nodeGeneration(key) !== null
}

/** Of every generation of the keyring. */
export const KEYRING_PREFIX = 'keyring/'

/** Key of a generation of the keyring. */
export function keyringKey(generation: number): string {
  return `${KEYRING_PREFIX}${String(generation).padStart(GENERATION_DIGITS, '0')}.json`
}

/** The generation of a key of the keyring, or null where the key is none. */
export function parseKeyringKey(key: string): number | null {
  const match = /^keyring\/(\d{12})\.json$/.exec(key)
  return match?.[1] === undefined ? null : Number(match[1])
}

/** What a segment's key says. */
export interface SegmentName {
  readonly stream: string
  readonly level: number
  readonly firstSequence: number
  readonly lastSequence: number
  /** 8 lower-case hex digits, other ones for each attempt to write the segment: no attempt overwrites another's file. */
  readonly nonce: string
}

/** Key of a segment. */
export function segmentKey({ stream, level, firstSequence, lastSequence, nonce }: SegmentName): string {
  const sequence = (n: number): string => String(n).padStart(SEQUENCE_DIGITS, '0')
  const range = `${sequence(firstSequence)}-${sequence(lastSequence)}`
  return `${SEGMENT_PREFIX}${stream}/${String(level).padStart(2, '0')}/${range}-${nonce}.parquet`
}

/** The parts of a segment key, or null where the key is no segment key. */
export function parseSegmentKey(key: string): SegmentName | null {
  const match = /^segment\/([^/]+)\/(\d{2})\/(\d{16})-(\d{16})-([0-9a-f]{8})\.parquet$/.exec(key)
  if (match === null) return null
  const [, stream = '', level, first, last, nonce = ''] = match
  return { stream, level: Number(level), firstSequence: Number(first), lastSequence: Number(last), nonce }
}

/** What the key of a file of a run says. */
export interface RunFileName {
  readonly run: Ulid
  readonly level: number
  /** Its number among the files of the run, from 0, in the order of the items; or the chain file, or the index. */
  readonly file: number | 'chain' | 'index'
  /** As that of a segment. */
  readonly nonce: string
}

/** Key of a file of a run. */
export function runFileKey({ run, level, file, nonce }: RunFileName): string {
  return `${SEGMENT_PREFIX}${run}/${String(level).padStart(2, '0')}/${nameIn(file, nonce)}`
}

function nameIn(file: RunFileName['file'], nonce: string): string {
  if (file === 'chain') return `chain-${nonce}.json.gz`
  return file === 'index' ? `index-${nonce}.bin` : `${String(file).padStart(4, '0')}-${nonce}.parquet`
}

/** The parts of the key of a file of a run, or null where the key is none. */
export function parseRunFileKey(key: string): RunFileName | null {
  const [, run = '', level, name = '', nonce = '', suffix = ''] =
    /^segment\/([^/]+)\/(\d{2})\/(chain|index|\d{4})-([0-9a-f]{8})\.([a-z.]+)$/.exec(key) ?? []
  if (!isUlid(run)) return null
  const file = name === 'chain' || name === 'index' ? name : Number(name)
  const isName = suffix === (file === 'chain' ? 'json.gz' : file === 'index' ? 'bin' : 'parquet')
  return isName ? { run, level: Number(level), file, nonce } : null
}

/** Of the lists of files that merges have replaced. */
export const REPLACED_PREFIX = 'replaced/'

/** Key of a list of files that a merge has replaced. */
export function replacedKey(ulid: Ulid): string {
  return `${REPLACED_PREFIX}${ulid}.json`
}

/** The ULID of such a list, or null where the key is none of one. */
export function parseReplacedKey(key: string): Ulid | null {
  const ulid = /^replaced\/([^/]+)\.json$/.exec(key)?.[1]
  return ulid !== undefined && isUlid(ulid) ? ulid : null
}

/** Of the runs that are being written. */
export const MERGING_PREFIX = 'merging/'

/** Key of what says that a run is being written. */
export function mergingKey(run: Ulid): string {
  return `${MERGING_PREFIX}${run}.json`
}

/** The run of such a key, or null where the key is none of one. */
export function parseMergingKey(key: string): Ulid | null {
  const run = /^merging\/([^/]+)\.json$/.exec(key)?.[1]
  return run !== undefined && isUlid(run) ? run : null
}

/** Prefix of the files of a run. */
export function runPrefix(run: Ulid): string {
  return `${SEGMENT_PREFIX}${run}/`
}

/** Of the leases for merging. */
export const LEASE_PREFIX = 'lease/'

/** Key of a lease for merging. */
export function leaseKey(number: number): string {
  return `${LEASE_PREFIX}compaction-${String(number).padStart(GENERATION_DIGITS, '0')}.json`
}

/** The number of such a lease, or null where the key is none of one. */
export function parseLeaseKey(key: string): number | null {
  const number = /^lease\/compaction-(\d{12})\.json$/.exec(key)?.[1]
  return number === undefined ? null : Number(number)
}

/** Key of what a drill has proven. */
export function drillKey(ulid: Ulid): string {
  return `${DRILL_PREFIX}${ulid}.json`
}

/** The ULID of a drill's key, or null where the key is none. */
export function parseDrillKey(key: string): Ulid | null {
  const ulid = /^drill\/([^/]+)\.json$/.exec(key)?.[1]
  return ulid !== undefined && isUlid(ulid) ? ulid : null
}

/** Prefix of the keys of a snapshot, with its closing slash; with a nonce for one that was written again. */
export function snapshotPrefix(ulid: Ulid, nonce?: string): string {
  return `${SNAPSHOT_PREFIX}${ulid}${nonce === undefined ? '' : `-${nonce}`}/`
}

/** Prefix of the snapshot that a key belongs to, or null where it belongs to none. */
export function prefixOfSnapshotKey(key: string): string | null {
  const [, prefix, ulid] = /^(snapshot\/([^/-]+)(?:-[0-9a-f]{8})?\/).+$/.exec(key) ?? []
  return prefix !== undefined && ulid !== undefined && isUlid(ulid) ? prefix : null
}

/** Longest encoded name of a resource in a file name. */
const MOST_NAME = 200

/**
 * File name of the records of a resource: what is not in `[A-Za-z0-9_.-]`, and a leading dot, is percent-encoded. A
 * resource without a name has `%records`, which encodes no name; a name that is too long `%long-` and its hash.
 */
export function recordsFile(resource: string): string {
  return `${resource === '' ? '%records' : encodeName(resource)}.jsonl.gz`
}

/** File name of the other stored objects of a resource; the bare `%` cannot occur in the encoded name of a resource. */
export function objectsFile(resource: string): string {
  return `${encodeName(resource)}%objects.jsonl.gz`
}

/** A name that differs from those before it without regard to case; the bare `%` cannot occur in an encoded name. */
export function distinctFile(name: string, nth: number): string {
  return name.replace(/\.jsonl\.gz$/, `%${nth}.jsonl.gz`)
}

const UNFINISHED = '%restoring-'

/** What begins the names of the files of one restore into a directory until it is complete; no other file has such a name. */
export function unfinishedPrefix(nonce: string): string {
  return `${UNFINISHED}${nonce}-`
}

/** Whether a file belongs to a restore into its directory that was not completed. */
export function isUnfinished(name: string): boolean {
  return name.startsWith(UNFINISHED)
}

/** Name of the nth file, from 1, of a snapshot whose file names say nothing: the manifest knows what is in it. */
export function numberedFile(n: number): string {
  return `${n}.jsonl.gz`
}

function encodeName(name: string): string {
  let out = ''
  for (const byte of Buffer.from(name, 'utf8')) {
    const char = String.fromCharCode(byte)
    const plain = /[A-Za-z0-9_-]/.test(char) || (char === '.' && out !== '')
    out += plain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    if (out.length > MOST_NAME) return `%long-${sha256(utf8(name))}`
  }
  return out
}
