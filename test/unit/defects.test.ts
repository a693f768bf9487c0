import { expect, test } from 'vitest'
import { crc32 } from '../../src/base/bytes.ts'
import { NOTHING_SEALED, recoverState } from '../../src/capture/journal-recovery.ts'
import { MemoryLog } from '../../src/capture/memory-log.ts'
import { readStoreFile } from '../../src/engine/store-file.ts'
import { EventCursor } from '../../src/format/event-codec.ts'
import { decodeIntents } from '../../src/format/intent-codec.ts'
import { decodeFileHeader, encodeFileHeader } from '../../src/format/journal-file.ts'
import { decodeLines } from '../../src/format/jsonl.ts'
import { decodeManifest } from '../../src/format/manifest.ts'
import { eventsOf } from '../../src/format/segment/events.ts'
import { footerLength } from '../../src/format/segment/footer.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import { COLUMNS } from '../../src/format/segment/schema.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { decodeRoot } from '../../src/timeline/root.ts'
import { golden } from '../support/fuzz/golden.ts'

/*
 * Inputs that fuzzing found, each as it was found: accepted with a wrong value, or failed with an error that says
 * nothing. Decoders refuse them now.
 */
function eachEvent(bytes: Uint8Array): void {
  const cursor = new EventCursor(bytes)
  while (cursor.next()) cursor.checkTexts()
}

async function recover(frame: Uint8Array): Promise<void> {
  const log = new MemoryLog()
  await log.append(frame)
  await recoverState(log, NOTHING_SEALED)
}

async function readSegment(file: Uint8Array): Promise<void> {
  const footer = file.subarray(file.length - footerLength(file.subarray(-8), file.length))
  const reader = await openSegment({
    name: 'defect',
    bytes: file.length,
    footer: { bytes: footer.length, crc32: crc32(footer) },
    read: async (start, end) => file.subarray(start, end),
  })
  const columns = COLUMNS.map(({ name }) => name)
  for (const index of reader.rowGroups.keys()) Array.from(eventsOf(await reader.readRowGroup(index, columns)))
}

function readLines(bytes: Uint8Array): void {
  for (const line of decodeLines(bytes, 'defect.jsonl.gz')) void line.image().raw
}

async function readStore(bytes: Uint8Array): Promise<void> {
  const store = new MemoryStore()
  await store.put('tidemark.json', bytes)
  await readStoreFile(store)
}

const DEFECTS: readonly [string, string, (bytes: Uint8Array) => unknown][] = [
  ['event-absent-field-with-bytes', 'JOURNAL_CORRUPT', eachEvent],
  ['intent-text-not-utf8', 'JOURNAL_CORRUPT', (bytes) => decodeIntents(Buffer.from(bytes), 1)],
  ['frame-other-event-count', 'JOURNAL_CORRUPT', recover],
  ['segment-ulid-none', 'SEGMENT_CORRUPT', readSegment],
  ['line-id-not-utf8', 'SNAPSHOT_CORRUPT', readLines],
  ['lines-not-utf8', 'SNAPSHOT_CORRUPT', readLines],
  ['manifest-sha256-none', 'SNAPSHOT_CORRUPT', (bytes) => decodeManifest(bytes, 'defect')],
  ['root-segment-null', 'TIMELINE_CORRUPT', (bytes) => decodeRoot(bytes, 1)],
  ['store-file-no-json', 'TIMELINE_CORRUPT', readStore],
]

test.each(DEFECTS)('%s is refused with %s', async (name, code, decode) => {
  const bytes = golden(`defect-${name}.bin`)
  await expect((async () => decode(bytes))()).rejects.toMatchObject({ code, category: 'corrupt' })
})

test('the same timeline as format 1 had it is refused for its format, with a right checksum', () => {
  expect(() => decodeRoot(golden('defect-timeline-segment-null.bin'), 1)).toThrow(/it is not of format 2/)
  expect(() => decodeRoot(golden('defect-root-segment-null.bin'), 1)).toThrow(/incomplete or malformed/)
})

test('a journal of version 0.1 is refused by name, and told from a damaged one', () => {
  const header = Buffer.from(encodeFileHeader({ file: 1, firstFrame: 1, stream: '01KAJ0QZX3N5V7E8T9RYBWDCFG' }))
  expect(decodeFileHeader(header)?.file).toBe(1)
  header.write('TMJ1', 0, 'latin1')
  expect(() => decodeFileHeader(header)).toThrow(/written by Tidemark 0\.1/)
})
