import { randomBytes } from 'node:crypto'
import { decodeTime, ulid as freshUlid, isValid } from 'ulid'
import { TidemarkError } from '../base/errors.ts'

/** A ULID (github.com/ulid/spec): 26 characters of Crockford base 32, 48 bits of milliseconds then 80 bits; sorts as text. */
export type Ulid = string

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The least ULID there is. */
export const MIN_ULID: Ulid = '0'.repeat(26)

/** Whether `text` is a ULID in upper case. The package takes one for valid whose time needs more than its 48 bits, and cannot read it. */
export function isUlid(text: string): boolean {
  return isValid(text) && text < '8' && text === text.toUpperCase()
}

const ULID_CHARS = 26
/** By character code: 1 where a ULID may have it. */
const IS_ULID_CHAR = new Uint8Array(256)
for (const char of ALPHABET) IS_ULID_CHAR[char.charCodeAt(0)] = 1

/** Whether the bytes `[start, end)` are the text of a ULID, as `isUlid` says: without making a text of them. */
export function isUlidBytes(data: Uint8Array, start: number, end: number): boolean {
  if (end - start !== ULID_CHARS || (data[start] ?? EIGHT) >= EIGHT) return false
  for (let at = start; at < end; at++) if (IS_ULID_CHAR[data[at] ?? 0] !== 1) return false
  return true
}

const EIGHT = '8'.charCodeAt(0)

/** By character code: the value of a character. */
const VALUE = new Uint8Array(256)
for (const [value, char] of [...ALPHABET].entries()) VALUE[char.charCodeAt(0)] = value
const TIME_CHARS = 10

/** `ulidTime` of the ULID whose text begins at `start`: without making a text of it. */
export function ulidTimeAt(data: Uint8Array, start: number): number {
  let ms = 0
  for (let at = start; at < start + TIME_CHARS; at++) ms = 32 * ms + (VALUE[data[at] ?? 0] ?? 0)
  return ms
}

/** Milliseconds since the epoch of a ULID's time part. */
export function ulidTime(ulid: Ulid): number {
  return decodeTime(ulid)
}

/** A new id at `ms` (milliseconds since the epoch) for something that is in no order with stamps: a store, a key, a drill. */
export function newUlid(ms: number): Ulid {
  return freshUlid(Math.floor(ms))
}

/** The least ULID whose time part is `ms`. */
export function firstUlidAt(ms: number): Ulid {
  return encodeTime(ms) + '0'.repeat(16)
}

/** The greatest ULID whose time part is `ms`: a timestamp as an inclusive bound. */
export function lastUlidAt(ms: number): Ulid {
  return encodeTime(ms) + 'Z'.repeat(16)
}

/** The last millisecond that lies wholly at or before `ulid`: as an inclusive bound it goes no further than `ulid`. */
export function lastWholeMs(ulid: Ulid): number {
  const ms = ulidTime(ulid)
  return ulid < lastUlidAt(ms) ? Math.max(0, ms - 1) : ms
}

/** The ULID just before `ulid` in order. */
export function previousUlid(ulid: Ulid): Ulid {
  const chars = [...ulid]
  for (let i = chars.length - 1; i >= 0; i--) {
    const value = ALPHABET.indexOf(chars[i] ?? '0')
    if (value > 0) {
      chars[i] = ALPHABET.charAt(value - 1)
      return chars.join('')
    }
    chars[i] = 'Z'
  }
  throw new TidemarkError('MOMENT_INVALID', 'There is no moment before the first ULID.', {
    hint: 'Give a later event.',
  })
}

function encodeTime(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0 || ms >= 2 ** 48) {
    throw new TidemarkError('MOMENT_INVALID', `${ms} is not a time that a ULID can hold.`, {
      hint: 'Give milliseconds since 1970 between 0 and 281474976710655.',
    })
  }
  let rest = Math.floor(ms)
  let out = ''
  for (let i = 0; i < 10; i++) {
    out = ALPHABET.charAt(rest % 32) + out
    rest = Math.floor(rest / 32)
  }
  return out
}

/** Units of the sub-millisecond part: 64 ticks a microsecond, so that two processes on one machine interleave truly. */
const TICKS_PER_MS = 65_536
/** Numbers of the ULIDs of one instant; the last one is that of marks. */
const INSTANT_ULIDS = 2 ** 24
/** Characters before the one that holds the last bit of the ticks, and those behind it. */
const TICK_CHARS = 13
const REST_CHARS = 12

/**
 * The greatest ULID of the same instant: the same millisecond and tick. The events of one capture share an instant, so
 * that as an inclusive bound this has all of them or none.
 */
export function instantEnd(ulid: Ulid): Ulid {
  return ulid.slice(0, TICK_CHARS) + (ulid.charAt(TICK_CHARS) >= 'G' ? 'Z' : 'F') + 'Z'.repeat(REST_CHARS)
}

/** The ULID just before the instant of `ulid` in order. */
export function beforeInstant(ulid: Ulid): Ulid {
  const least = ulid.charAt(TICK_CHARS) >= 'G' ? 'G' : '0'
  return previousUlid(ulid.slice(0, TICK_CHARS) + least + '0'.repeat(REST_CHARS))
}

/**
 * Gives the ULIDs of one stream: strictly increasing, whatever the clock does. The 80 bits after the time are
 * 16 bits of ticks within the millisecond, which make the instant; 24 bits that number the ULIDs of one instant; and 40
 * random bits that are constant for this generator, which makes ULIDs of different streams distinct and a column of them
 * compress well.
 *
 * Stamps are not made by the package `ulid`: its `monotonicFactory` knows no ticks, forgets what came before at a restart,
 * and calls for random numbers 16 times in every new millisecond (33 us a ULID against 0.14 us here, on the machine that
 * this was written on).
 */
export class UlidGenerator {
  readonly #now: () => number
  readonly #suffix: string
  #ms = 0
  #tick = -1
  #index = 0
  #timeText = ''
  #timeOf = -1

  constructor(now: () => number, entropy: Uint8Array = randomBytes(5)) {
    this.#now = now
    let bits = 0n
    for (const byte of entropy.subarray(0, 5)) bits = (bits << 8n) | BigInt(byte)
    let out = ''
    for (let i = 0; i < 8; i++) {
      out = ALPHABET.charAt(Number(bits & 31n)) + out
      bits >>= 5n
    }
    this.#suffix = out
  }

  /** The next ULID: of a later instant than every one before it, and not before the clock. */
  next(): Ulid {
    const now = Math.max(0, this.#now())
    const ms = Math.floor(now)
    const tick = Math.min(TICKS_PER_MS - 1, Math.floor((now - ms) * 1000) * 64)
    if (ms > this.#ms || (ms === this.#ms && tick > this.#tick)) {
      this.#ms = ms
      this.#tick = tick
    } else if (this.#tick + 1 < TICKS_PER_MS) {
      this.#tick++
    } else {
      this.#ms++
      this.#tick = 0
    }
    this.#index = 0
    return this.#encode()
  }

  /**
   * A ULID of a later instant, behind every other one of that instant, also those of other generators: as an inclusive bound
   * it has a capture of any stream whole, or nothing of it.
   */
  mark(): Ulid {
    this.next()
    this.#index = INSTANT_ULIDS - 1
    return this.#encode()
  }

  /**
   * Another ULID of the instant of the last one, greater than it; the last call was `next` or this one. Errors:
   * `SOURCE_UNSUPPORTED` beyond 16,777,215 of one instant.
   */
  another(): Ulid {
    if (++this.#index >= INSTANT_ULIDS - 1) {
      throw new TidemarkError('SOURCE_UNSUPPORTED', `One capture has more than ${INSTANT_ULIDS - 1} items.`, {
        hint: 'Capture what is written together in smaller parts.',
      })
    }
    return this.#encode()
  }

  /** How far the last ULID's time is ahead of the clock, whole milliseconds; 0 where the clock has come up to it. */
  get aheadMs(): number {
    return Math.max(0, this.#ms - Math.floor(Math.max(0, this.#now())))
  }

  /** Makes every later ULID greater than `ulid`: after a restart, or when a moment has been reported reachable. */
  advanceTo(ulid: Ulid): void {
    const ms = ulidTime(ulid)
    let tick = 0
    for (let i = 10; i < TICK_CHARS; i++) tick = tick * 32 + ALPHABET.indexOf(ulid.charAt(i))
    tick = tick * 2 + (ALPHABET.indexOf(ulid.charAt(TICK_CHARS)) >> 4)
    if (ms > this.#ms || (ms === this.#ms && tick > this.#tick)) {
      this.#ms = ms
      this.#tick = tick
    }
  }

  /** Passes over so many instants. */
  skip(instants: number): void {
    const ticks = this.#tick + instants
    this.#ms += Math.floor(ticks / TICKS_PER_MS)
    this.#tick = ticks % TICKS_PER_MS
  }

  #encode(): Ulid {
    if (this.#timeOf !== this.#ms) {
      this.#timeText = encodeTime(this.#ms)
      this.#timeOf = this.#ms
    }
    const t = this.#tick
    const i = this.#index
    return (
      this.#timeText +
      ALPHABET.charAt(t >> 11) +
      ALPHABET.charAt((t >> 6) & 31) +
      ALPHABET.charAt((t >> 1) & 31) +
      ALPHABET.charAt(((t & 1) << 4) | (i >> 20)) +
      (i === 0 ? '0000' : encodeIndex(i)) +
      this.#suffix
    )
  }
}

function encodeIndex(index: number): string {
  return (
    ALPHABET.charAt((index >> 15) & 31) +
    ALPHABET.charAt((index >> 10) & 31) +
    ALPHABET.charAt((index >> 5) & 31) +
    ALPHABET.charAt(index & 31)
  )
}
