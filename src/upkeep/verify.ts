import { createHash } from 'node:crypto'
import { sha256 } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { decodeProof } from '../format/drill-file.ts'
import { decodeKeySlot } from '../format/key-slot.ts'
import {
  DRILL_PREFIX,
  MANIFEST_FILE,
  parseSegmentKey,
  parseSlotKey,
  parseTimelineKey,
  prefixOfSnapshotKey,
  STORE_FILE,
  TIMELINE_PREFIX,
  timelineKey,
} from '../format/keys.ts'
import { chainStart } from '../format/segment/chain.ts'
import { decodeStoreFile } from '../format/store-file.ts'
import { decodeHead } from '../format/timeline-codec.ts'
import type { Image } from '../model/event.ts'
import { isSameGap } from '../model/gap.ts'
import type { Head } from '../model/head.ts'
import type { SegmentEntry, SnapshotEntry, Timeline } from '../model/timeline.ts'
import { compareStates } from '../restore/difference.ts'
import { exceptionsOf, gapError, gapsOf, isAcknowledged } from '../restore/gaps.ts'
import { planRestore } from '../restore/plan.ts'
import { openSnapshot, type ReplaySources, replay } from '../restore/replay.ts'
import type { SnapshotReader } from '../restore/snapshot-reader.ts'
import type { ItemState } from '../restore/target.ts'
import { checkHead } from './head.ts'
import { checkedEvents, wrongContent } from './segment-check.ts'

/** Something that is wrong with the store. */
export interface Damage {
  /** The file, or the stream where no single file is to blame. */
  readonly key: string
  readonly code: string
  readonly message: string
}

/** What a verification read and found. */
export interface Verification {
  readonly files: number
  readonly bytes: number
  readonly events: number
  readonly snapshots: number
  readonly damage: readonly Damage[]
  /** Files that no timeline names: left by an attempt that failed, harmless. */
  readonly unreferenced: readonly string[]
}

/** Reports each file as it is read. */
export type OnFile = (key: string, bytes: number) => void

/**
 * Reads and hashes every file of the store, checks that every sequence is gapless, and that every snapshot is what
 * the one before it and the events since give; and, with a head that was `noted`, that the history goes on from it.
 * Nothing is changed. Damage is collected, not thrown.
 */
export async function verifyStore(
  sources: ReplaySources,
  timeline: Timeline,
  onFile: OnFile,
  noted: Head | null = null,
): Promise<Verification> {
  return new Verifier(sources, timeline, onFile).run(noted)
}

/** Files of any size are hashed in parts of this many bytes. */
const PART_BYTES = 8 * 1024 * 1024

class Verifier {
  readonly #sources: ReplaySources
  readonly #timeline: Timeline
  readonly #onFile: OnFile
  readonly #damage: Damage[] = []
  readonly #unreferenced: string[] = []
  readonly #seen = new Map<string, number>()
  #files = 0
  #bytes = 0
  #events = 0

  constructor(sources: ReplaySources, timeline: Timeline, onFile: OnFile) {
    this.#sources = sources
    this.#timeline = timeline
    this.#onFile = onFile
  }

  async run(noted: Head | null): Promise<Verification> {
    const { segments, snapshots } = this.#timeline
    await this.#listFiles()
    await this.#verifyTimeline()
    if (noted !== null) {
      await this.#guard(timelineKey(noted.generation), () => checkHead(this.#sources.store, this.#timeline, noted))
    }
    for (const segment of segments) await this.#guard(segment.key, () => this.#verifySegment(segment))
    this.#verifyChains()
    await this.#verifyProofs()
    const gaps = gapsOf(this.#timeline)
    for (const gap of gaps) if (!isAcknowledged(gap)) this.#found(`stream ${gap.stream}`, gapError(gap))
    for (const [index, snapshot] of snapshots.entries())
      await this.#verifySnapshot(snapshot, snapshots[index - 1] ?? null)
    return {
      files: this.#files,
      bytes: this.#bytes,
      events: this.#events,
      snapshots: snapshots.length,
      damage: this.#damage,
      unreferenced: this.#unreferenced,
    }
  }

  async #listFiles(): Promise<void> {
    const segments = new Set(this.#timeline.segments.map(({ key }) => key))
    const snapshots = new Set(this.#timeline.snapshots.map(({ prefix }) => prefix))
    for await (const { key, bytes } of this.#sources.store.list('')) {
      this.#seen.set(key, bytes)
      const snapshot = prefixOfSnapshotKey(key)
      const orphan =
        (parseSegmentKey(key) !== null && !segments.has(key)) || (snapshot !== null && !snapshots.has(snapshot))
      if (orphan) this.#unreferenced.push(key)
    }
  }

  /** Every generation, and that each names the hash of the one before. */
  async #verifyTimeline(): Promise<void> {
    await this.#guard(STORE_FILE, async () => {
      if (decodeStoreFile(await this.#read(STORE_FILE)) === null)
        throw wrongContent(STORE_FILE, 'its checksum is wrong')
    })
    for (const key of this.#seen.keys()) {
      const id = parseSlotKey(key)
      if (id === null) continue
      await this.#guard(key, async () => {
        if (decodeKeySlot(await this.#read(key))?.id !== id) throw wrongContent(key, 'it is no key slot')
      })
    }
    const generations = [...this.#seen.keys()].map(parseTimelineKey).filter((generation) => generation !== null)
    let previous: string | null = null
    for (const [index, generation] of generations.sort((a, b) => a - b).entries()) {
      const key = timelineKey(generation)
      if (index > 0 && generation !== (generations[index - 1] ?? 0) + 1) {
        this.#found(key, missing(timelineKey(generation - 1)))
      }
      await this.#guard(key, async () => {
        const bytes = await this.#read(key)
        await decodeHead(generation, (wanted) => this.#sources.store.get(timelineKey(wanted)))
        const named: unknown = JSON.parse(Buffer.from(bytes).toString('utf8')).previous
        if (previous !== null && named !== previous) throw wrongHash(timelineKey(generation - 1))
        previous = sha256(bytes)
      })
    }
    if (this.#timeline.generation > 0 && generations.at(-1) !== this.#timeline.generation) {
      this.#found(TIMELINE_PREFIX, missing(timelineKey(this.#timeline.generation)))
    }
  }

  async #verifySegment(entry: SegmentEntry): Promise<void> {
    const bytes = await this.#read(entry.key)
    if (sha256(bytes) !== entry.sha256) throw wrongHash(entry.key)
    const reader = await this.#sources.segments.open(entry)
    for await (const _ of checkedEvents(reader, entry)) this.#events++
  }

  /** What drills have proven is in files that nothing else names. */
  async #verifyProofs(): Promise<void> {
    for (const key of this.#seen.keys()) {
      if (!key.startsWith(DRILL_PREFIX)) continue
      await this.#guard(key, async () => {
        if (decodeProof(key, await this.#read(key)) === null) throw wrongContent(key, 'its checksum is wrong')
      })
    }
  }

  /** That the segments of each stream follow one another in its hash chain, up to where the timeline says it is. */
  #verifyChains(): void {
    for (const stream of this.#timeline.streams) {
      let expected: { readonly value: string; readonly sequence: number } = {
        value: chainStart(stream.id),
        sequence: 0,
      }
      const segments = this.#timeline.segments.filter((segment) => segment.stream === stream.id)
      for (const { key, chain, firstSequence, lastSequence } of segments.toSorted(bySequence)) {
        // Behind a missing segment the chain goes on with what nobody can check: the gap is told as such.
        const follows = firstSequence === expected.sequence + 1
        if (follows && chain.previous !== expected.value)
          this.#found(key, wrongContent(key, 'its events do not follow those before them in the hash chain'))
        expected = { value: chain.value, sequence: lastSequence }
      }
      // Where segments are missing at the end, the gap is told instead.
      if (expected.sequence === stream.lastSequence && expected.value !== stream.chain) {
        const name = `stream ${stream.id}`
        this.#found(name, wrongContent(name, 'its hash chain ends elsewhere than the timeline says'))
      }
    }
  }

  async #verifySnapshot(entry: SnapshotEntry, previous: SnapshotEntry | null): Promise<void> {
    const key = `${entry.prefix}${MANIFEST_FILE}`
    const whole = await this.#guard(key, async () => {
      await this.#read(key)
      const snapshot = await openSnapshot(this.#sources, entry)
      const { objects, resources } = snapshot.manifest
      const files = [objects, ...resources.flatMap((resource) => [resource.objects, resource.records])]
      let intact = true
      for (const file of files) {
        if (file === null) continue
        const name = `${entry.prefix}${file.file}`
        intact = (await this.#guard(name, () => this.#verifyHash(name, file.sha256))) && intact
      }
      if (!intact) return
      for await (const batch of snapshot.lines({})) for (const line of batch.lines) decodeWhole(line.image())
      if (previous !== null) await this.#verifyAgainst(entry, previous, snapshot)
    })
    if (!whole) return
  }

  /** A snapshot that was read from the live database has no history before it that could be compared. */
  async #verifyAgainst(entry: SnapshotEntry, previous: SnapshotEntry, snapshot: SnapshotReader): Promise<void> {
    if (entry.consistentFrom !== entry.ulid) return
    const touching = exceptionsOf(this.#timeline, previous, entry.ulid)
    // What was lost after the snapshot was made is in it, and in no replay: there is nothing to compare it with.
    if (touching.some((gap) => entry.except?.some((known) => isSameGap(known, gap)) !== true)) return
    const before: Timeline = { ...this.#timeline, snapshots: [previous] }
    const plan = planRestore(before, entry.ulid)
    for await (const { differences } of compareStates(statesOf(snapshot), replay(this.#sources, plan, {}))) {
      const [first] = differences
      if (first === undefined) continue
      throw wrongContent(
        `${entry.prefix}${MANIFEST_FILE}`,
        `${first.resource}/${first.id} is not what the snapshot before it and the events since give`,
      )
    }
  }

  async #verifyHash(key: string, expected: string): Promise<void> {
    const bytes = this.#seen.get(key)
    if (bytes === undefined) throw missing(key)
    const hash = createHash('sha256')
    for (let start = 0; start < bytes; start += PART_BYTES) {
      hash.update(await this.#sources.store.get(key, { start, end: Math.min(bytes, start + PART_BYTES) }))
    }
    this.#count(key, bytes)
    if (hash.digest('hex') !== expected) throw wrongHash(key)
  }

  async #read(key: string): Promise<Uint8Array> {
    const bytes = await this.#sources.store.get(key)
    this.#count(key, bytes.length)
    return bytes
  }

  #count(key: string, bytes: number): void {
    this.#files++
    this.#bytes += bytes
    this.#onFile(key, bytes)
  }

  /** Runs a check; what it throws is damage of `key`. */
  async #guard(key: string, check: () => Promise<void>): Promise<boolean> {
    try {
      await check()
      return true
    } catch (error) {
      if (error instanceof TidemarkError && error.retriable) throw error
      this.#found(key, error)
      return false
    }
  }

  #found(key: string, error: unknown): void {
    const known = error instanceof TidemarkError ? error : null
    const file = known?.details.key
    this.#damage.push({
      key: typeof file === 'string' ? file : key,
      code: known?.code ?? 'OBJECT_CORRUPT',
      message: messageOf(error),
    })
  }
}

function bySequence(a: SegmentEntry, b: SegmentEntry): number {
  return a.firstSequence - b.firstSequence
}

/** Images are decoded where somebody looks. */
function decodeWhole({ json, raw }: Image): number {
  return json.length + (raw?.length ?? 0)
}

async function* statesOf(snapshot: SnapshotReader): AsyncGenerator<readonly ItemState[]> {
  for await (const { kind, resource, lines } of snapshot.lines({})) {
    yield lines.map((line) => ({ kind, resource, id: Buffer.from(line.id).toString('utf8'), image: line.image() }))
  }
}

function wrongHash(key: string): TidemarkError {
  return wrongContent(key, 'its SHA-256 is not the one that was noted when it was written')
}

function missing(key: string): TidemarkError {
  return wrongContent(key, 'it is missing')
}
