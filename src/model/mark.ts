import { isUlid, type Ulid } from './ulid.ts'

/** A moment with a name, usable wherever a moment is. It outlives every policy: what it needs is kept until it is removed. */
export interface Mark {
  readonly name: string
  /** The moment: the state up to and including this stamp. */
  readonly ulid: Ulid
  /** When it was made. */
  readonly at: Ulid
}

const NAME = /^[A-Za-z](?:[._-]?[A-Za-z0-9_])*$/
const MOST_CHARS = 64
/** What else may stand where a moment does, and the commands behind `tidemark mark`. */
const TAKEN: readonly string[] = ['latest', 'before', 'random', 'now', 'list', 'remove']

/** Whether a mark can be called so: what could be taken for a time, a ULID or another word for a moment is none. */
export function isMarkName(text: string): boolean {
  const isTaken = TAKEN.includes(text.toLowerCase()) || isUlid(text.toUpperCase())
  return NAME.test(text) && text.length <= MOST_CHARS && !isTaken
}
