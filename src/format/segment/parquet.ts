import {
  Compression,
  EnabledStatistics,
  Encoding,
  Table,
  type WriterProperties,
  WriterPropertiesBuilder,
  writeParquet,
} from 'parquet-wasm'
import { LIMITS } from '../../base/limits.ts'
import { COLUMNS } from './schema.ts'

/** How the Parquet file is laid out, and its key-value metadata. */
export interface ParquetOptions {
  readonly rowGroupRows: number
  readonly metadata: ReadonlyMap<string, string>
}

/** Large enough that a column of a row group is one page unless its values are large. */
const PAGE_BYTES = 4 << 20
/** No column may fall back from its dictionary to plain values: our reader has no code for that. */
const DICTIONARY_BYTES = LIMITS.chunkBytes

/** Encodes an Arrow IPC stream as Parquet. Synchronous, and heavy: belongs in a worker. */
export function parquetBytes(arrowStream: Uint8Array, options: ParquetOptions): Uint8Array {
  // Both are consumed, and freed, by the writer: WebAssembly memory is not garbage collected.
  return writeParquet(Table.fromIPCStream(arrowStream), properties(options))
}

/** Every setter consumes the builder it is called on. */
function properties(options: ParquetOptions): WriterProperties {
  let builder = new WriterPropertiesBuilder()
    .setCreatedBy('tidemark')
    .setCompression(Compression.ZSTD)
    .setDictionaryEnabled(false)
    .setStatisticsEnabled(EnabledStatistics.None)
    .setMaxRowGroupSize(options.rowGroupRows)
    .setDataPageSizeLimit(PAGE_BYTES)
    .setDictionaryPageSizeLimit(DICTIONARY_BYTES)
    .setKeyValueMetadata(new Map(options.metadata))
  for (const { name, encoding, compressed, statistics } of COLUMNS) {
    if (encoding === 'dictionary') builder = builder.setColumnDictionaryEnabled(name, true)
    else builder = builder.setColumnEncoding(name, encoding === 'delta' ? Encoding.DELTA_BINARY_PACKED : Encoding.PLAIN)
    if (!compressed) builder = builder.setColumnCompression(name, Compression.UNCOMPRESSED)
    if (statistics) builder = builder.setColumnStatisticsEnabled(name, EnabledStatistics.Chunk)
  }
  return builder.build()
}
