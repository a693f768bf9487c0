/*
 * A pair of the index of a run: the hash of an item, and a row group with events of it. In the bits that the numbers of row
 * groups leave free stands about when the first of these happened, in units of the time that the run spans. So who asks for an
 * item as it was before that knows that the run says nothing of it, and reads none of its rows.
 */
const MOST_UNIT = 2 ** 32 - 1
/** Enough: of a month a few seconds. */
const MOST_TIME_BITS = 20

/** What the times of pairs count from, and by. */
export interface TimeScale {
  /** Milliseconds since 1970: no event of the run is earlier. */
  readonly since: number
  /** Milliseconds, at least 1. */
  readonly unit: number
  /** How many units there are: of the 32 bits, what the numbers of row groups leave free. */
  readonly times: number
}

/** The `times` of the pairs of an index. */
export function timesOf(rowGroups: number): number {
  return 2 ** Math.min(MOST_TIME_BITS, Math.clz32(rowGroups - 1))
}

/** Pairs by hash and row group, none twice; both lists as they are stored. */
export interface Pairs extends TimeScale {
  readonly hashes: Uint32Array
  /** Row groups with times: see `rowGroupIn` and `timeIn`. */
  readonly groups: Uint32Array
}

/** The scale for events from one time to another, milliseconds since 1970. */
function timeScale(first: number, last: number, times: number): TimeScale {
  const unit = Math.min(MOST_UNIT, Math.max(1, Math.ceil((last - first + 1) / times)))
  return { since: first, unit, times }
}

/** The row group of a pair with its time. */
export function timedGroup(rowGroup: number, time: number, { since, unit, times }: TimeScale): number {
  return rowGroup * times + Math.min(times - 1, Math.floor((time - since) / unit))
}

/** The row group of a pair. */
export function rowGroupIn(group: number, { times }: Pick<TimeScale, 'times'>): number {
  return Math.floor(group / times)
}

/** The time of a pair, milliseconds since 1970: no event of the item in this row group is earlier. */
export function timeIn(group: number, { since, unit, times }: TimeScale): number {
  return since + (group % times) * unit
}

/** The least time that pairs tell of a hash, milliseconds since 1970; infinite where they tell none. */
function sinceOf(pairs: Pairs, hash: number): number {
  const { hashes, groups } = pairs
  let [low, high] = [0, hashes.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((hashes[middle] ?? 0) < hash) low = middle + 1
    else high = middle
  }
  let since = Number.POSITIVE_INFINITY
  for (let at = low; hashes[at] === hash; at++) since = Math.min(since, timeIn(groups[at] ?? 0, pairs))
  return since
}

/** Pairs of a block: a power of two. */
const BLOCK = 1024
/** What one takes while pairs are gathered. */
export const GATHERED_BYTES = 16
/** What one takes besides while the index is made of them: gathered again of several files, in order, and in its bucket. */
export const INDEXED_BYTES = 56

/** Some pairs. */
class PairBlock {
  readonly hashes: Uint32Array = new Uint32Array(BLOCK)
  readonly rowGroups: Uint32Array = new Uint32Array(BLOCK)
  readonly times: Float64Array = new Float64Array(BLOCK)
}

/** Pairs that were gathered in any order, in blocks: one list that doubles would take up to three times as much while it does. */
export class PairList {
  readonly #blocks: PairBlock[] = []
  #count = 0

  /** `time`: of the first event of the item in the row group, milliseconds since 1970. Returns the number of the pair. */
  push(hash: number, rowGroup: number, time: number): number {
    const at = this.#count++
    if (at === this.#blocks.length * BLOCK) this.#blocks.push(new PairBlock())
    this.#set(at, rowGroup, time).hashes[at % BLOCK] = hash
    return at
  }

  /** Gives a pair another row group. */
  move(at: number, rowGroup: number, time: number): void {
    this.#set(at, rowGroup, time)
  }

  /** Takes those of another list, whose row groups are numbered from 0 there. */
  addAll(other: PairList, firstRowGroup: number): void {
    for (const { hashes, rowGroups, times, count } of other.#filled())
      for (let at = 0; at < count; at++)
        this.push(hashes[at] ?? 0, firstRowGroup + (rowGroups[at] ?? 0), times[at] ?? 0)
  }

  /** The scale for what was gathered, in an index of so many row groups. */
  scale(rowGroups: number): TimeScale {
    let [first, last] = [Number.POSITIVE_INFINITY, 0]
    for (const { times, count } of this.#filled()) {
      for (const time of times.subarray(0, count)) {
        if (time < first) first = time
        if (time > last) last = time
      }
    }
    return timeScale(Math.min(first, last), last, timesOf(rowGroups))
  }

  /** Whether pairs tell of no hash a time that is later than one that was gathered of it: these are exact, whatever was stored. */
  isBehind(told: Pairs): boolean {
    for (const { hashes, times, count } of this.#filled())
      for (let at = 0; at < count; at++) if (sinceOf(told, hashes[at] ?? 0) > (times[at] ?? 0)) return false
    return true
  }

  /** In order, none twice: of two items with one hash in one row group the earlier time stands. */
  sorted(scale: TimeScale): Pairs {
    // As numbers of 64 bits these sort without a call for each comparison.
    const numbers = new BigUint64Array(this.#count)
    const words = new Uint32Array(numbers.buffer)
    const [low, high] = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? [0, 1] : [1, 0]
    let word = 0
    for (const { hashes, rowGroups, times, count } of this.#filled()) {
      for (let at = 0; at < count; at++, word += 2) {
        words[word + low] = timedGroup(rowGroups[at] ?? 0, times[at] ?? 0, scale)
        words[word + high] = hashes[at] ?? 0
      }
    }
    numbers.sort()
    const [hashes, groups] = [new Uint32Array(this.#count), new Uint32Array(this.#count)]
    let kept = 0
    for (let at = 0; at < this.#count; at++) {
      const [hash, group] = [words[2 * at + high] ?? 0, words[2 * at + low] ?? 0]
      const isSameGroup = rowGroupIn(groups[kept - 1] ?? 0, scale) === rowGroupIn(group, scale)
      const isTwice = kept > 0 && hashes[kept - 1] === hash && isSameGroup
      if (isTwice) continue
      hashes[kept] = hash
      groups[kept++] = group
    }
    return { ...scale, hashes: hashes.subarray(0, kept), groups: groups.subarray(0, kept) }
  }

  #set(at: number, rowGroup: number, time: number): PairBlock {
    const block = this.#blocks[Math.floor(at / BLOCK)]
    if (block === undefined) throw new RangeError(`there is no pair ${at}`)
    block.rowGroups[at % BLOCK] = rowGroup
    block.times[at % BLOCK] = time
    return block
  }

  /** Every block, and how many pairs are in it. */
  *#filled(): Generator<PairBlock & { readonly count: number }> {
    for (const [i, { hashes, rowGroups, times }] of this.#blocks.entries())
      yield { hashes, rowGroups, times, count: Math.min(BLOCK, this.#count - i * BLOCK) }
  }
}
