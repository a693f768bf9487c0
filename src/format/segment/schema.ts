/*
 * The Parquet schema of a segment, version 1. The one declaration: the writer, our reader and the tests follow it.
 * Rows are sorted by kind (the order of KINDS), resource, record id (UTF-8 bytes) and ULID.
 */

/** Version of the schema and of the metadata beside it. */
export const SEGMENT_FORMAT = 1

/** Columns whose values a reader gets as ranges of bytes. */
export type BytesColumn =
  | 'ulid'
  | 'record_id'
  | 'transaction'
  | 'metadata'
  | 'before'
  | 'after'
  | 'before_raw'
  | 'after_raw'
/** Columns of few distinct values, which a reader gets as codes into a list of them. */
export type CodesColumn = 'stream' | 'kind' | 'resource' | 'operation' | 'actor'
/** Columns of integers: `time` in milliseconds since the epoch. */
export type NumbersColumn = 'time' | 'sequence'
/** Columns of booleans. */
export type FlagsColumn = 'before_elided'
/** Any column of a segment. */
export type ColumnName = BytesColumn | CodesColumn | NumbersColumn | FlagsColumn

/** `text` is Parquet's STRING, `time` its TIMESTAMP(milliseconds, UTC). */
export type ColumnType = 'text' | 'binary' | 'time' | 'int64' | 'boolean'

/** The encoding of the data pages: PLAIN, RLE_DICTIONARY (falling back to PLAIN), DELTA_BINARY_PACKED. */
export type ColumnEncoding = 'plain' | 'dictionary' | 'delta'

/** A column, and how it is written. */
export interface ColumnDeclaration {
  readonly name: ColumnName
  readonly type: ColumnType
  readonly encoding: ColumnEncoding
  readonly nullable: boolean
  /** zstd level 1, or stored as encoded: where that is a few bytes a row group anyway, or deltas, which get no smaller. */
  readonly compressed: boolean
  /** Least and greatest value of every row group, for SQL engines. Our reader has the index in the metadata. */
  readonly statistics: boolean
}

type Flag = 'nullable' | 'stored' | 'statistics'

function column(name: ColumnName, type: ColumnType, encoding: ColumnEncoding, ...flags: Flag[]): ColumnDeclaration {
  const nullable = flags.includes('nullable')
  return {
    name,
    type,
    encoding,
    nullable,
    compressed: !flags.includes('stored'),
    statistics: flags.includes('statistics'),
  }
}

/** The columns in the order in which they stand in the file. */
export const COLUMNS: readonly ColumnDeclaration[] = [
  column('ulid', 'text', 'plain', 'statistics'),
  column('time', 'time', 'delta', 'stored', 'statistics'),
  column('stream', 'text', 'dictionary', 'stored'),
  column('sequence', 'int64', 'delta', 'stored'),
  column('kind', 'text', 'dictionary', 'stored'),
  column('resource', 'text', 'dictionary', 'stored', 'statistics'),
  column('record_id', 'text', 'dictionary', 'statistics'),
  column('operation', 'text', 'dictionary', 'stored'),
  column('actor', 'text', 'dictionary', 'nullable'),
  column('transaction', 'text', 'plain', 'nullable'),
  column('metadata', 'text', 'plain', 'nullable'),
  column('before', 'text', 'plain', 'nullable'),
  column('after', 'text', 'plain', 'nullable'),
  column('before_raw', 'binary', 'plain', 'nullable'),
  column('after_raw', 'binary', 'plain', 'nullable'),
  column('before_elided', 'boolean', 'plain', 'stored'),
]

const byName = new Map(COLUMNS.map((declaration, index) => [declaration.name, index]))

/** Where a column stands. */
export function columnIndex(name: ColumnName): number {
  return byName.get(name) ?? -1
}
