import { gunzipSync, gzipSync } from 'node:zlib'
import { concat, sha256 } from '../../../src/base/bytes.ts'
import { decodeLine, encodeLine } from '../../../src/format/jsonl.ts'
import { decodeManifest, encodeManifest, type Manifest, type SnapshotFile } from '../../../src/format/manifest.ts'
import { SnapshotReader } from '../../../src/restore/snapshot-reader.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { type Case, type Decoder, same } from './case.ts'
import { choose, mutateBytes, mutateJson, pick, type Random } from './mutate.ts'

const PREFIX = 'snapshot/01KAJ0QZX3N5V7E8T9RYBWDCFG/'
const MANIFEST = `${PREFIX}s3db.json`

/** The files of a snapshot by name, `s3db.json` among them. */
export type SnapshotFiles = ReadonlyMap<string, Uint8Array>

function manifestOf(files: SnapshotFiles): Uint8Array {
  const manifest = files.get('s3db.json')
  if (manifest === undefined) throw new Error('no manifest')
  return manifest
}

/** The lines of a snapshot file, each with its newline. */
function linesOf(file: Uint8Array): Uint8Array[] {
  const text = gunzipSync(file)
  const lines: Uint8Array[] = []
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf(10, start) + 1
    lines.push(text.subarray(start, end))
    start = end
  }
  return lines
}

function shownLine(line: Uint8Array): string {
  const { id, image } = decodeLine(line, 'fuzz.jsonl.gz')
  const { json, raw } = image()
  return JSON.stringify([Buffer.from(id).toString('hex'), Buffer.from(json).toString('hex'), raw && [...raw]])
}

/** One line of a snapshot file. What it was read as, written and read again, is the same. */
export function lineDecoder(samples: readonly SnapshotFiles[]): Decoder {
  const lines = samples.flatMap((files) =>
    [...files].filter(([name]) => name !== 's3db.json').flatMap(([, file]) => linesOf(file)),
  )
  return {
    name: 'snapshot-line',
    make: (random) => {
      const { bytes, kind } = mutateBytes(choose(random, lines), lines, random)
      const decode: Case['decode'] = () => {
        const found = shownLine(bytes)
        return () => {
          const { id, image } = decodeLine(bytes, 'fuzz.jsonl.gz')
          const { json, raw } = image()
          same(
            shownLine(concat(encodeLine(Buffer.from(id).toString('utf8'), { json, raw }))),
            found,
            'a line, written again',
          )
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}

/** `s3db.json`, without a noted hash: as in a directory that somebody gives as a target. */
export function manifestDecoder(samples: readonly SnapshotFiles[]): Decoder {
  const texts = samples.map(manifestOf)
  const values: unknown[] = texts.map((text) => JSON.parse(Buffer.from(text).toString('utf8')))
  return {
    name: 'manifest',
    make: (random) => {
      const which = pick(random, texts.length)
      const isRepaired = random() < 0.6
      const json = isRepaired ? mutateJson(values[which], values, random) : null
      const changed = mutateBytes(texts[which] ?? Buffer.alloc(0), texts, random)
      const bytes = json === null ? changed.bytes : Buffer.from(JSON.stringify(json.value) ?? '')
      const decode: Case['decode'] = async () => {
        const store = new MemoryStore()
        await store.put(MANIFEST, bytes)
        const { manifest } = await SnapshotReader.open(store, PREFIX, null)
        return () => checkManifest(manifest)
      }
      return { kind: json === null ? changed.kind : `repaired ${json.kind}`, input: bytes, decode }
    },
  }
}

function checkManifest(manifest: Manifest): void {
  const again = decodeManifest(Buffer.from(encodeManifest(manifest)), 'again')
  same(JSON.stringify(again), JSON.stringify(manifest), 'a manifest, written again')
  const files = [manifest.objects, ...manifest.resources.flatMap(({ records, objects }) => [records, objects])]
  for (const file of files) {
    if (file === null) continue
    const safe =
      /^[^/\0]+\.jsonl\.gz$/.test(file.file) && !file.file.startsWith('.') && /^[0-9a-f]{64}$/.test(file.sha256)
    if (!safe) throw new Error(`a file was accepted that none can be: ${JSON.stringify(file)}`)
  }
}

/** Everything that a restore reads of a snapshot. */
async function readSnapshot(files: SnapshotFiles, manifestSha256: string): Promise<string[]> {
  const store = new MemoryStore()
  for (const [name, bytes] of files) await store.put(PREFIX + name, bytes)
  const reader = await SnapshotReader.open(store, PREFIX, manifestSha256)
  const found: string[] = []
  for await (const { kind, resource, lines } of reader.lines({})) {
    for (const { id, image } of lines) {
      const { json, raw } = image()
      found.push(JSON.stringify([kind, resource, Buffer.from(id).toString('hex'), [...json], raw && [...raw]]))
    }
  }
  return found
}

/** Changes one line of a file and makes the gzip members, the manifest and its hashes fit. */
function changedFile(files: SnapshotFiles, random: Random): { files: SnapshotFiles; input: Uint8Array } {
  const names = [...files.keys()].filter((name) => name !== 's3db.json')
  const name = choose(random, names)
  const lines = linesOf(files.get(name) ?? Buffer.alloc(0))
  const at = pick(random, lines.length)
  lines[at] = mutateBytes(lines[at] ?? Buffer.alloc(0), lines, random).bytes
  const input = Buffer.concat(lines)
  const file = gzipSync(input)
  const manifest = decodeManifest(manifestOf(files), 'fuzz')
  const repaired = JSON.stringify(manifest, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('file' in value) || value.file !== name) return value
    const { members, records } = value as SnapshotFile
    const first = members[0]?.[3] ?? ''
    const sizes = { bytes: file.length, uncompressedBytes: input.length, sha256: sha256(file) }
    return { ...value, ...sizes, members: [[0, file.length, records, first, sha256(file)]] }
  })
  const text = encodeManifest(JSON.parse(repaired))
  return { files: new Map([...files, [name, file], ['s3db.json', Buffer.from(text)]]), input }
}

/** A whole snapshot: with hashes as noted it gives the original or nothing; with repaired ones, what the lines say. */
export async function snapshotDecoder(samples: readonly SnapshotFiles[]): Promise<Decoder> {
  const originals = await Promise.all(
    samples.map(async (files) => (await readSnapshot(files, sha256(manifestOf(files)))).join('\n')),
  )
  return {
    name: 'snapshot',
    make: (random) => {
      const which = pick(random, samples.length)
      const files = samples[which] ?? new Map()
      if (random() < 0.5) {
        const { files: changed, input } = changedFile(files, random)
        const decode: Case['decode'] = async () => {
          await readSnapshot(changed, sha256(manifestOf(changed)))
          return () => {}
        }
        return { kind: 'repaired line', input, decode }
      }
      const name = choose(random, [...files.keys()])
      const donors = samples.flatMap((sample) => [...sample.values()])
      const { bytes, kind } = mutateBytes(files.get(name) ?? Buffer.alloc(0), donors, random)
      const decode: Case['decode'] = async () => {
        const found = await readSnapshot(new Map([...files, [name, bytes]]), sha256(manifestOf(files)))
        return () => same(found.join('\n'), originals[which] ?? '', `a snapshot with a damaged ${name}`)
      }
      return { kind, input: bytes, decode }
    },
  }
}
