import { setImmediate } from 'node:timers/promises'
import { compareUtf8, text } from '../base/bytes.ts'
import type { Lines } from '../format/jsonl.ts'
import { type Image, type Item, imageBytes, type Kind } from '../model/event.ts'
import { fold } from '../model/fold.ts'
import { compareItems } from '../model/order.ts'
import type { StampedItem } from '../restore/merge.ts'
import type { SnapshotContent, SnapshotReader } from '../restore/snapshot-reader.ts'
import type { SnapshotWriter } from '../restore/snapshot-writer.ts'
import type { ItemState } from '../restore/target.ts'
import type { Changes } from './changes.ts'

/** States that are handed on at once, and bytes of their images. */
const BATCH = 1000
const BATCH_BYTES = 4 * 1024 * 1024

/** What a snapshot is made of. */
export interface SnapshotParts {
  readonly before: SnapshotReader
  /** What happened since: each item once, in the order of `compareItems`, images as they are stored. */
  readonly changes: Changes
  readonly writer: SnapshotWriter
  /** Ends it at its next step, with its reason. */
  readonly signal: AbortSignal
}

/**
 * Writes a snapshot from the one before and what happened since. A member of a file of it in whose range of ids nothing
 * happened is carried over as it is stored; each other one is read, merged and written again. One without a change is
 * written again, too, where what was written before it is too small to be a member.
 */
export class SnapshotFold {
  readonly #parts: SnapshotParts
  #states: ItemState[] = []
  #bytes = 0

  constructor(parts: SnapshotParts) {
    this.#parts = parts
  }

  /** Writes everything but the manifest. Once. */
  async run(): Promise<void> {
    const { before } = this.#parts
    for (const { kind, resource, lines } of before.schemas()) await this.#merge(kind, resource, lines)
    for (const content of before.files()) await this.#foldFile(content)
    await this.#takeWhile(() => true)
    await this.#flush()
  }

  async #foldFile({ kind, resource, file }: SnapshotContent): Promise<void> {
    const { before, changes, writer } = this.#parts
    const isOfFile = (next: Item): boolean => next.kind === kind && next.resource === resource
    await this.#takeUntil({ kind, resource, id: '' })
    let number = 0
    for await (const member of before.stored(file)) {
      // What comes before the first member belongs to it, and to the last one what comes behind it.
      const end = file.members[++number]?.[3] ?? null
      const isInside = (next: Item): boolean => isOfFile(next) && (end === null || compareUtf8(next.id, end) < 0)
      await this.#flush()
      const next = await changes.next()
      if ((next === null || !isInside(next)) && writer.canCarry(kind, resource)) {
        await writer.carry(kind, resource, member)
        continue
      }
      await this.#merge(kind, resource, await before.storedLines(file, member))
      await this.#takeWhile(isInside)
    }
  }

  /** Adds lines, and what happened to these items and to those between them. */
  async #merge(kind: Kind, resource: string, lines: Lines): Promise<void> {
    const { before, changes } = this.#parts
    const { ulid } = before.manifest
    for (const line of lines) {
      const item = { kind, resource, id: text(line.id) }
      // Of most lines it is known without waiting that nothing happened to them.
      if (!isBehind(changes.known, item)) await this.#takeUntil(item)
      const change = changes.known ?? null
      const isChanged = change !== null && compareItems(change, item) === 0
      if (isChanged) changes.pass()
      this.#push(item, isChanged ? fold({ ulid, image: line.image() }, change).image : line.image())
      if (this.#isFull) await this.#flush()
    }
  }

  /** Adds what happened to items before `end` that the snapshot does not have. */
  #takeUntil(end: Item): Promise<void> {
    return this.#takeWhile((next) => compareItems(next, end) < 0)
  }

  async #takeWhile(isWanted: (next: StampedItem) => boolean): Promise<void> {
    const { changes } = this.#parts
    for (let next = await changes.next(); next !== null && isWanted(next); next = await changes.next()) {
      changes.pass()
      const { kind, resource, id, image } = next
      this.#push({ kind, resource, id }, image)
      if (this.#isFull) await this.#flush()
    }
  }

  #push(item: Item, image: Image | null): void {
    if (image === null) return
    this.#states.push({ ...item, image })
    this.#bytes += imageBytes(image)
  }

  get #isFull(): boolean {
    return this.#states.length >= BATCH || this.#bytes >= BATCH_BYTES
  }

  async #flush(): Promise<void> {
    const states = this.#states
    this.#states = []
    this.#bytes = 0
    await this.#parts.writer.add(states)
    // This may run in the process of an application, which has its turn.
    await setImmediate()
    this.#parts.signal.throwIfAborted()
  }
}

function isBehind(next: StampedItem | null | undefined, item: Item): boolean {
  return next !== undefined && (next === null || compareItems(next, item) > 0)
}
