import { decoding, segmentCorrupt } from './corrupt.ts'
import { decodeBytes, decodeCodedBytes, decodeCodes, decodeFlags, decodeNumbers } from './decode.ts'
import type { RowGroupMetadata } from './footer.ts'
import type { PageMemory } from './page-memory.ts'
import {
  type BytesColumn,
  COLUMNS,
  type CodesColumn,
  type ColumnDeclaration,
  type ColumnName,
  columnIndex,
  type FlagsColumn,
  type NumbersColumn,
} from './schema.ts'
import type { ByteValues, CodedBytes, CodedValues } from './values.ts'

/**
 * One row group of a segment. Columns are decoded when they are first asked for; only columns that were read can be.
 * Errors of the accessors: `SEGMENT_CORRUPT`.
 */
export class RowGroup {
  readonly rows: number
  /** Key of the segment, for messages. */
  readonly name: string
  readonly #metadata: RowGroupMetadata
  readonly #chunks: ReadonlyMap<ColumnName, Uint8Array>
  readonly #bytes = new Map<BytesColumn, ByteValues>()
  readonly #codes = new Map<CodesColumn, CodedValues>()
  readonly #numbers = new Map<NumbersColumn, Float64Array>()
  #flags: Uint8Array | null = null

  constructor(name: string, metadata: RowGroupMetadata, chunks: ReadonlyMap<ColumnName, Uint8Array>) {
    this.name = name
    this.rows = metadata.rows
    this.#metadata = metadata
    this.#chunks = chunks
  }

  bytes(column: BytesColumn): ByteValues {
    return remembered(this.#bytes, column, () => this.decoded(column))
  }

  /** The same of a dictionary column, each value once. */
  coded(column: BytesColumn): CodedBytes {
    return this.#decode(column, decodeCodedBytes)
  }

  /** The same as `bytes`, decoded anew each time, and into `memory` where it is given: valid until that is cleared. */
  decoded(column: BytesColumn, memory: PageMemory | null = null): ByteValues {
    return this.#decode(column, (bytes, chunk, declaration) => decodeBytes(bytes, chunk, declaration, memory))
  }

  /** How long a column is once it is decoded, as the footer says. */
  bytesOf(column: ColumnName): number {
    return this.#metadata.chunks[columnIndex(column)]?.uncompressedBytes ?? 0
  }

  codes(column: CodesColumn): CodedValues {
    return remembered(this.#codes, column, () => this.#decode(column, decodeCodes))
  }

  numbers(column: NumbersColumn): Float64Array {
    return remembered(this.#numbers, column, () => this.#decode(column, decodeNumbers))
  }

  /** A byte a row, 1 for true. */
  flags(column: FlagsColumn): Uint8Array {
    this.#flags ??= this.#decode(column, decodeFlags)
    return this.#flags
  }

  #decode<T>(
    column: ColumnName,
    decode: (bytes: Uint8Array, chunk: RowGroupMetadata['chunks'][number], declaration: ColumnDeclaration) => T,
  ): T {
    const index = columnIndex(column)
    const [bytes, chunk, declaration] = [this.#chunks.get(column), this.#metadata.chunks[index], COLUMNS[index]]
    if (bytes === undefined || chunk === undefined || declaration === undefined) {
      throw new RangeError(`column ${column} of ${this.name} was not read`)
    }
    return decoding(this.name, () => decode(bytes, chunk, declaration))
  }

  /** The error for values that are well-formed by themselves and impossible together. */
  corrupt(what: string): Error {
    return segmentCorrupt(this.name, what)
  }
}

function remembered<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  const found = known.get(key)
  if (found !== undefined) return found
  const made = make()
  known.set(key, made)
  return made
}
