import { gunzipSync } from 'node:zlib'
import { hex, must, sha, utf8Order } from './bytes.ts'
import { type Event, type Image, type Item, nameOf, order } from './events.ts'
import { rawOf } from './message-pack.ts'
import { startOf } from './moments.ts'
import type { Opener } from './record-keys.ts'
import { checkRunIndex, type RunFileRead } from './run-index.ts'
import { checkRun, readSegment } from './segment.ts'
import type { Files, Segment, Snapshot, Timeline } from './timeline.ts'

export interface State extends Item {
  image: Image
}

interface SnapshotFile {
  file: string
  records: number
  bytes: number
  sha256: string
  members: [number, number, number, string, string][]
}

interface Manifest {
  tidemark: {
    format: number
    schema: ManifestSchema
    objects: SnapshotFile | null
    resources: { name: string; schema: ManifestSchema; records: SnapshotFile | null; objects: SnapshotFile | null }[]
  }
}

type ManifestSchema = { json: string; raw: unknown } | null

/** A store that was read as a whole. */
export interface Opened {
  files: Files
  timeline: Timeline
  open: Opener
}

/** The items of a snapshot (7), as they are stored. */
export function readSnapshot(files: Files, prefix: string, manifestSha256: string | null): State[] {
  const bytes = files.get(`${prefix}s3db.json`) ?? new Uint8Array(0)
  must(manifestSha256 === null || hex(bytes) === manifestSha256, `${prefix} has another manifest`)
  const { tidemark }: Manifest = JSON.parse(Buffer.from(bytes).toString())
  must(tidemark.format === 2, 'another format')
  const { schema, objects } = tidemark
  const states: State[] = []
  for (const one of [{ name: '', schema, objects, records: null }, ...tidemark.resources]) {
    const resource = one.name
    if (one.schema !== null)
      states.push({ kind: 'schema', resource, id: '', image: { json: one.schema.json, raw: rawOf(one.schema.raw) } })
    for (const { id, image } of linesOf(files, prefix, one.objects))
      states.push({ kind: 'object', resource, id, image })
    for (const { id, image } of linesOf(files, prefix, one.records))
      states.push({ kind: 'record', resource, id, image })
  }
  return states
}

function linesOf(files: Files, prefix: string, entry: SnapshotFile | null): { id: string; image: Image }[] {
  if (entry === null) return []
  const bytes = Buffer.from(files.get(prefix + entry.file) ?? [])
  must(hex(bytes) === entry.sha256 && bytes.length === entry.bytes, `${entry.file} is another file`)
  const found = entry.members.flatMap(([offset, length, records, firstId, hash]) => {
    const member = bytes.subarray(offset, offset + length)
    must(hex(member) === hash, `${entry.file} has another member`)
    const lines = gunzipSync(member).toString().split('\n')
    must(lines.pop() === '' && lines.length === records, `${entry.file} has other lines`)
    const own = lines.map(lineOf)
    must(own[0]?.id === firstId, `${entry.file} begins with another id`)
    return own
  })
  must(found.length === entry.records, `${entry.file} has other records`)
  return found
}

function lineOf(line: string): { id: string; image: Image } {
  const length = Number(/"json":(\d+)\}\}$/.exec(line)?.[1])
  const bytes = Buffer.from(line)
  const json = `${bytes.toString('utf8', 0, length - 1)}}`
  const { id, raw } = JSON.parse(`{${bytes.subarray(json === '{}' ? 1 : length)}`)._tidemark
  return { id, image: { json, raw: rawOf(raw) } }
}

/** The state at a moment (8), in order; null where a gap touches it. */
export async function stateAt(store: Opened, bound: string): Promise<State[] | null> {
  const snapshot = startOf(store.timeline, bound)
  if (snapshot === null) return null
  const state = new Map<string, State>()
  for (const one of readSnapshot(store.files, snapshot.prefix, snapshot.manifestSha256)) {
    const image = store.open(one, one.image)
    if (image !== null) state.set(nameOf(one), { ...one, image })
  }
  for (const event of await eventsBetween(store, snapshot, bound)) {
    const { kind, resource, id, after } = event
    if (after === null) state.delete(nameOf(event))
    else state.set(nameOf(event), { kind, resource, id, image: after })
  }
  return [...state.values()].sort(order)
}

async function eventsBetween({ files, timeline, open }: Opened, from: Snapshot, bound: string): Promise<Event[]> {
  const needed = timeline.segments.filter(({ firstUlid, lastUlid }) => lastUlid > from.ulid && firstUlid <= bound)
  const events = await eventsOf({ files, timeline: { ...timeline, segments: needed }, open }, false)
  return events.filter(({ ulid }) => ulid > from.ulid && ulid <= bound)
}

/** Every event of all segments, in the order of the ULIDs, with its images opened; erased ones are left out. */
export async function eventsOf({ files, timeline, open }: Opened, isWhole = true): Promise<Event[]> {
  const events: Event[] = []
  const runs = new Map<string, { run: NonNullable<Segment['run']>; own: RunFileRead[] }>()
  for (const segment of timeline.segments) {
    const own = await readSegment(files.get(segment.key) ?? new Uint8Array(0), segment)
    events.push(...own)
    const { run } = segment
    if (run !== undefined)
      runs.set(run.key, { run, own: [...(runs.get(run.key)?.own ?? []), { segment, events: own }] })
  }
  for (const { run, own } of isWhole ? runs.values() : []) {
    const inRun = own.flatMap(({ events: some }) => some)
    checkRun(run, files.get(run.key) ?? new Uint8Array(0), inRun)
    checkRunIndex(run, files, own)
  }
  return events
    .sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
    .flatMap((event) => {
      const opened = [event.before, event.after].map((image) => (image === null ? undefined : open(event, image)))
      const [before = null, after = null] = opened
      return opened.includes(null) ? [] : [{ ...event, before, after }]
    })
}

/** What a drill says of the items of every resource (2): how many, and the XOR of their hashes. */
export function hashesOf(states: readonly State[]): [string, number, string][] {
  const found = new Map<string, [number, Buffer]>()
  for (const { kind, resource, id, image } of states) {
    const { json, raw } = image
    const name = sha(JSON.stringify([kind, resource, id]))
    const content = sha(`${Buffer.byteLength(json)} ${raw === null ? '-' : raw.length} `, json, raw ?? '')
    const [count, sum] = found.get(resource) ?? [0, Buffer.alloc(32)]
    const own = sha(name, content)
    found.set(resource, [count + 1, Buffer.from(sum.map((byte, i) => byte ^ (own[i] ?? 0)))])
  }
  return [...found]
    .sort(([a], [b]) => utf8Order(a, b))
    .map(([resource, [count, sum]]) => [resource, count, sum.toString('hex')])
}
