/** Bounds that a file, a key or a value must keep; a decoder refuses what exceeds them before it allocates. */
export const LIMITS: Readonly<
  Record<
    | 'imageBytes'
    | 'fieldBytes'
    | 'frameBytes'
    | 'chunkBytes'
    | 'rowGroupRows'
    | 'runEvents'
    | 'runIndexBytes'
    | 'footerBytes'
    | 'filterBytes'
    | 'runFilterBytes'
    | 'memberBytes'
    | 'jsonBytes'
    | 'rootBytes'
    | 'jsonDepth'
    | 'objectBytes'
    | 'keyBytes',
    number
  >
> = {
  /** Largest single image (JSON or raw), bytes. */
  imageBytes: 268_435_456,
  /** Largest field of an event or an intent, bytes: a sealed image has both parts of one in its raw part. */
  fieldBytes: 536_870_976,
  /** Largest journal frame, bytes. */
  frameBytes: 1_073_741_824,
  /** Largest column chunk of a segment, bytes, decompressed. */
  chunkBytes: 1_073_741_824,
  /** Most rows of a row group of a segment: a run of a billion equal values takes six bytes. */
  rowGroupRows: 1_048_576,
  /** Most events of a run of merged segments, erased ones included: who verifies it has 83 bytes of each in memory. */
  runEvents: 2_097_152,
  /** Largest index of a run, bytes: twice what one of as many items and row groups has. */
  runIndexBytes: 134_217_728,
  /** Largest Parquet footer, bytes. */
  footerBytes: 67_108_864,
  /** Largest filter of a segment that stands in the catalogue too, bytes: of some 680 items. */
  filterBytes: 1024,
  /** The same of a file of a run, of some 1,360 items: there are fewer of these, and their index is another request. */
  runFilterBytes: 2048,
  /** Largest uncompressed gzip member of a snapshot, bytes. */
  memberBytes: 536_870_912,
  /** Largest JSON file of a store, bytes. */
  jsonBytes: 268_435_456,
  /** Largest root of the catalogue, and largest node, bytes: with a few streams open they are below 64 KiB. */
  rootBytes: 16_777_216,
  /** Most brackets that are open at once in one. */
  jsonDepth: 1000,
  /** Largest object that is read as a whole, bytes: more is none of ours, and would not fit into memory. */
  objectBytes: 2_147_483_648,
  /** Longest object key, UTF-8 bytes (S3's bound). */
  keyBytes: 1024,
}
