import { hex, must } from './bytes.ts'

/** The files of a store by key, decrypted. */
export type Files = ReadonlyMap<string, Uint8Array>

export interface Segment {
  key: string
  stream: string
  firstSequence: number
  lastSequence: number
  firstUlid: string
  lastUlid: string
  events: number
  bytes: number
  sha256: string
  footer: { bytes: number; crc32: number }
  chain: { previous: string; value: string }
}

interface Range {
  stream: string
  firstSequence: number
  lastSequence: number | null
  afterUlid: string
  beforeUlid: string
}

export interface Snapshot {
  ulid: string
  consistentFrom: string
  prefix: string
  records: number
  manifestSha256: string
  except?: Range[]
}

export interface Stream {
  id: string
  state: 'open' | 'closed'
  openedAt: string
  sealedThrough: string
  lastSequence: number
  lastUlid: string
  chain: string
  shed?: { firstSequence: number; lastSequence: number; after: string; before: string | null }[]
}

interface Acknowledgement {
  stream: string
  firstSequence: number
  lastSequence: number | null
  reason: string
  by: string
  at: string
}

export interface Timeline {
  epochs: { epoch: number; restored: string | null; restoring?: object }[]
  streams: Stream[]
  segments: Segment[]
  snapshots: Snapshot[]
  losses: { stream: string; firstSequence: number; after: string; through: string }[]
  acknowledgements: Acknowledgement[]
  erasures: { keyring?: number }[]
}

interface Change {
  putStreams?: Stream[]
  addSegments?: Segment[]
  addSnapshots?: Snapshot[]
  addEpoch?: Timeline['epochs'][number]
  endRestores?: number
  addLosses?: Timeline['losses']
  addAcknowledgements?: Acknowledgement[]
  erase?: {
    entry: Timeline['erasures'][number]
    segments: { key: string; by: Segment }[]
    snapshots: { prefix: string; by: Snapshot }[]
  }
}

interface Generation {
  format: number
  generation: number
  previous: string | null
  checkpoint: number
  timeline?: Timeline
  changes?: Change[]
}

/** A JSON file with a checksum (2). */
export function sealed<T>(bytes: Uint8Array | undefined): T {
  const text = Buffer.from(bytes ?? []).toString()
  must(text.startsWith('{"sha256":"') && text.endsWith('}\n'), 'no JSON file with a checksum')
  must(hex(`{"sha256":"${'0'.repeat(64)}${text.slice(75)}`) === text.slice(11, 75), 'another checksum')
  return JSON.parse(text)
}

function timelineKey(generation: number): string {
  return `timeline/${String(generation).padStart(12, '0')}.json`
}

/** The last generation (3), and its head (6.1); every one before it is checked against the one that follows. */
export function readTimeline(files: Files): { timeline: Timeline; head: string } {
  const count = [...files.keys()].filter((key) => key.startsWith('timeline/')).length
  let previous: string | null = null
  for (let n = 1; n <= count; n++) {
    const one: Generation = sealed(files.get(timelineKey(n)))
    must(one.format === 1 && one.generation === n && one.previous === previous, `generation ${n} is out of place`)
    previous = hex(files.get(timelineKey(n)) ?? '')
  }
  const last: Generation = sealed(files.get(timelineKey(count)))
  const { timeline }: Generation = sealed(files.get(timelineKey(last.checkpoint)))
  must(timeline !== undefined, `generation ${last.checkpoint} is no checkpoint`)
  must((last.changes ?? []).length === count - last.checkpoint, 'not a change for each generation')
  for (const change of last.changes ?? []) apply(timeline, change)
  return { timeline, head: `${count}-${previous}` }
}

function apply(timeline: Timeline, change: Change): void {
  for (const stream of change.putStreams ?? []) {
    const at = timeline.streams.findIndex(({ id }) => id === stream.id)
    timeline.streams.splice(at < 0 ? timeline.streams.length : at, 1, stream)
  }
  for (const one of change.addSegments ?? [])
    if (timeline.segments.every(({ key }) => key !== one.key)) timeline.segments.push(one)
  for (const one of change.addSnapshots ?? [])
    if (timeline.snapshots.every(({ ulid }) => ulid !== one.ulid)) timeline.snapshots.push(one)
  timeline.snapshots.sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
  if (change.addEpoch !== undefined) timeline.epochs.push(change.addEpoch)
  for (const epoch of timeline.epochs) if (epoch.epoch <= (change.endRestores ?? 0)) delete epoch.restoring
  timeline.losses.push(...(change.addLosses ?? []))
  timeline.acknowledgements.push(...(change.addAcknowledgements ?? []))
  if (change.erase === undefined) return
  timeline.erasures.push(change.erase.entry)
  const { segments, snapshots } = change.erase
  timeline.segments = timeline.segments.map((one) => segments.find(({ key }) => key === one.key)?.by ?? one)
  timeline.snapshots = timeline.snapshots.map((one) => snapshots.find(({ prefix }) => prefix === one.prefix)?.by ?? one)
}
