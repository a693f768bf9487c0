/*
 * A pair of the index of a run: the hash of an item, and a row group with events of it. In the bits that the number of a row
 * group leaves free stands about when the first of these happened, in units of the time that the run spans. So who asks for an
 * item as it was before that knows that the run says nothing of it, and reads none of its rows.
 */
/** Bits of the time in a pair; the row group has those above them. */
const TIME_BITS = 11
/** Units that the time of a run is divided into. */
const TIMES: number = 2 ** TIME_BITS
const MOST_UNIT = 2 ** 32 - 1

/** What the times of pairs count from, and by. */
export interface TimeScale {
  /** Milliseconds since 1970: no event of the run is earlier. */
  readonly since: number
  /** Milliseconds, at least 1. */
  readonly unit: number
}

/** Pairs by hash and row group, none twice; both lists as they are stored. */
export interface Pairs extends TimeScale {
  readonly hashes: Uint32Array
  /** Row groups with times: see `rowGroupIn` and `timeIn`. */
  readonly groups: Uint32Array
}

/** The scale for events from one time to another, milliseconds since 1970. */
function timeScale(first: number, last: number): TimeScale {
  const unit = Math.min(MOST_UNIT, Math.max(1, Math.ceil((last - first + 1) / TIMES)))
  return { since: first, unit }
}

/** The row group of a pair with its time. */
export function timedGroup(rowGroup: number, time: number, { since, unit }: TimeScale): number {
  return rowGroup * TIMES + Math.min(TIMES - 1, Math.floor((time - since) / unit))
}

/** The row group of a pair. */
export function rowGroupIn(group: number): number {
  return group >>> TIME_BITS
}

/** The time of a pair, milliseconds since 1970: no event of the item in this row group is earlier. */
export function timeIn(group: number, { since, unit }: TimeScale): number {
  return since + (group % TIMES) * unit
}

/** Pairs that were gathered in any order. */
export class PairList {
  #hashes: Uint32Array = new Uint32Array(1024)
  #rowGroups: Uint32Array = new Uint32Array(1024)
  #times: Float64Array = new Float64Array(1024)
  #count = 0

  /** `time`: of the first event of the item in the row group, milliseconds since 1970. Returns the number of the pair. */
  push(hash: number, rowGroup: number, time: number): number {
    const at = this.#count++
    if (at === this.#hashes.length) {
      this.#hashes = widened(this.#hashes, new Uint32Array(2 * at))
      this.#rowGroups = widened(this.#rowGroups, new Uint32Array(2 * at))
      this.#times = widened(this.#times, new Float64Array(2 * at))
    }
    this.#hashes[at] = hash
    this.#rowGroups[at] = rowGroup
    this.#times[at] = time
    return at
  }

  /** Gives a pair another row group. */
  move(at: number, rowGroup: number, time: number): void {
    this.#rowGroups[at] = rowGroup
    this.#times[at] = time
  }

  /** Takes those of another list, whose row groups are numbered from 0 there. */
  addAll(other: PairList, firstRowGroup: number): void {
    for (let at = 0; at < other.#count; at++)
      this.push(other.#hashes[at] ?? 0, firstRowGroup + (other.#rowGroups[at] ?? 0), other.#times[at] ?? 0)
  }

  /** The scale for what was gathered. */
  scale(): TimeScale {
    let [first, last] = [Number.POSITIVE_INFINITY, 0]
    for (const time of this.#times.subarray(0, this.#count)) {
      if (time < first) first = time
      if (time > last) last = time
    }
    return timeScale(Math.min(first, last), last)
  }

  /** In order, none twice: of two items with one hash in one row group the earlier time stands. */
  sorted(scale: TimeScale): Pairs {
    // As numbers of 64 bits these sort without a call for each comparison.
    const numbers = new BigUint64Array(this.#count)
    const words = new Uint32Array(numbers.buffer)
    const [low, high] = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? [0, 1] : [1, 0]
    for (let at = 0; at < this.#count; at++) {
      words[2 * at + low] = timedGroup(this.#rowGroups[at] ?? 0, this.#times[at] ?? 0, scale)
      words[2 * at + high] = this.#hashes[at] ?? 0
    }
    numbers.sort()
    const [hashes, groups] = [new Uint32Array(this.#count), new Uint32Array(this.#count)]
    let kept = 0
    for (let at = 0; at < this.#count; at++) {
      const [hash, group] = [words[2 * at + high] ?? 0, words[2 * at + low] ?? 0]
      const isTwice = kept > 0 && hashes[kept - 1] === hash && rowGroupIn(groups[kept - 1] ?? 0) === rowGroupIn(group)
      if (isTwice) continue
      hashes[kept] = hash
      groups[kept++] = group
    }
    return { ...scale, hashes: hashes.subarray(0, kept), groups: groups.subarray(0, kept) }
  }
}

function widened<T extends Uint32Array | Float64Array>(old: T, wider: T): T {
  wider.set(old)
  return wider
}
