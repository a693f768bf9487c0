import { TidemarkError } from '../base/errors.ts'

/** What fixes the whole history up to one generation; noted elsewhere, it shows whether history was cut back or rewritten. */
export interface Head {
  readonly generation: number
  /** SHA-256 of the file of the generation, lower-case hex. */
  readonly sha256: string
}

/** A head as text: `<generation>-<sha256>`. */
export function formatHead({ generation, sha256: hash }: Head): string {
  return `${generation}-${hash}`
}

/** Errors: `OPTION_INVALID` where the text is no head. */
export function parseHead(text: string): Head {
  const [, generation, hash] = /^([1-9]\d{0,11})-([0-9a-f]{64})$/.exec(text) ?? []
  if (generation !== undefined && hash !== undefined) return { generation: Number(generation), sha256: hash }
  throw new TidemarkError('OPTION_INVALID', `'${text}' is not a head of a history. Nothing was read.`, {
    hint: 'Give what `tidemark head` printed: a number, a hyphen and 64 hexadecimal digits.',
  })
}
