import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { ImageText } from '../../tools/vectors/expected.ts'
import { frameOpener, readSealedStore } from '../support/sealed-reader.ts'
import { filesOf, sealed } from '../support/second-reader/bytes.ts'
import { type Event, type Image, type Item, nameOf } from '../support/second-reader/events.ts'
import { openIntents, readJournal, readStoreJournal, settle } from '../support/second-reader/journal.ts'
import { boundOf, gapsOf, reachOf } from '../support/second-reader/moments.ts'
import { asTheyAre, openerOf } from '../support/second-reader/record-keys.ts'
import { readIndex, rowGroupsOf } from '../support/second-reader/run-index.ts'
import { digestsIn, digestsInRun, readSegment } from '../support/second-reader/segment.ts'
import { eventsOf, hashesOf, type Opened, readSnapshot, stateAt } from '../support/second-reader/state.ts'
import { type Files, readTimeline } from '../support/second-reader/timeline.ts'
import { expectedJournal, expectedStore, PASSPHRASE, VECTORS } from '../support/vectors.ts'

function openStore(name: string): Opened & { head: string } {
  const directory = join(VECTORS, name, 'store')
  const files: Files =
    name === 'encrypted' ? readSealedStore(directory, { passphrase: PASSPHRASE }) : filesOf(directory)
  const { timeline, head } = readTimeline(files)
  const { format, id, recordKeys }: { format: number; id: string; recordKeys?: boolean } = JSON.parse(
    readFileSync(join(directory, 'tidemark.json'), 'utf8'),
  )
  expect(format).toBe(2)
  if (recordKeys !== true) return { files, timeline, head, open: asTheyAre }
  return { files, timeline, head, open: openerOf(filesOf(join(VECTORS, name, 'keyring')), id, timeline) }
}

function imageText(image: Image | null): ImageText | null {
  return image === null ? null : [image.json, image.raw === null ? null : Buffer.from(image.raw).toString('base64')]
}

function eventText({ ulid, stream, sequence, operation, context, before, after }: Event): object {
  return { ulid, stream, sequence, operation, before: imageText(before), after: imageText(after), context }
}

describe.each(['plain', 'encrypted', 'record-keys', 'late-and-lost', 'merged'])(
  'a reader made from FORMAT.md alone reads %s',
  (name) => {
    const expected = expectedStore(name)
    const store = openStore(name)

    test('its catalogue: head, chains, gaps, reach, epochs', () => {
      const { timeline, head } = store
      expect(head).toBe(expected.head)
      expect(gapsOf(timeline)).toEqual(expected.gaps)
      expect(reachOf(timeline).latest).toBe(expected.latest)
      expect(timeline.epochs.map(({ epoch, restored }) => [epoch, restored])).toEqual(expected.epochs)
      expect(timeline.snapshots.map(({ ulid, records }) => [ulid, records])).toEqual(expected.snapshots)
      const streams = timeline.streams.map(({ id, lastSequence, chain }) => ({ id, lastSequence, chain }))
      expect(streams).toEqual(expected.streams)
    })

    test('its states at every moment, and what a drill proved of one', async () => {
      const { earliest, latest } = reachOf(store.timeline)
      for (const { label, moment, bound, items } of expected.states) {
        expect(boundOf(moment), label).toBe(bound)
        expect(bound >= earliest && bound <= latest, label).toBe(true)
        const state = await stateAt(store, bound)
        const rows = state?.map(({ kind, resource, id, image }) => [kind, resource, id, ...(imageText(image) ?? [])])
        expect(rows ?? null, label).toEqual(items)
      }
      const { moment, hashes } = expected.drill
      expect(hashesOf((await stateAt(store, moment)) ?? [])).toEqual(hashes)
      const [key = ''] = [...store.files.keys()].filter((one) => one.startsWith('drill/'))
      const { resources }: { resources: { resource: string; items: number; hash: string }[] } = sealed(
        store.files.get(key),
      )
      expect(resources.map(({ resource, items, hash }) => [resource, items, hash])).toEqual(hashes)
    })

    test('its histories', async () => {
      const events = await eventsOf(store)
      const isWhole = expected.gaps.every(({ acknowledged }) => acknowledged !== null)
      for (const { events: wanted, ...item } of expected.histories) {
        const own = events.filter((event) => nameOf(event) === nameOf(item))
        if (isWhole) expect(own.map(eventText), item.id).toEqual(wanted)
        else expect(own.filter(isTold).map(toldText), item.id).toEqual(wanted)
      }
    })

    test('the digest of every event', async () => {
      const found: [string, number, string][] = []
      const runs = new Map<string, Event[]>()
      for (const segment of store.timeline.segments) {
        const bytes = store.files.get(segment.key) ?? new Uint8Array(0)
        const events = await readSegment(bytes, segment)
        const { run } = segment
        if (run === undefined) found.push(...digestsIn(segment, bytes, events))
        else runs.set(run.key, [...(runs.get(run.key) ?? []), ...events])
      }
      for (const [key, events] of runs) found.push(...digestsInRun(store.files.get(key) ?? new Uint8Array(0), events))
      expect(found.sort(([a, m], [b, n]) => (a === b ? m - n : a < b ? -1 : 1))).toEqual(expected.digests)
    })

    test('every snapshot, also those that no moment here is made from', () => {
      for (const { prefix, manifestSha256 } of store.timeline.snapshots) {
        const states = readSnapshot(store.files, prefix, manifestSha256)
        expect(states.length).toBeGreaterThan(2)
        const item: Item = { kind: 'record', resource: 'users', id: 'eve' }
        const isErased = states.every((one) => nameOf(one) !== nameOf(item) || store.open(one, one.image) === null)
        expect(isErased, prefix).toBe(true)
      }
    })
  },
)

test('a reader made from FORMAT.md alone finds an item of a run by its index, and reads no other row group', async () => {
  const { timeline, files } = openStore('merged')
  const segments = timeline.segments.filter(({ run }) => run !== undefined)
  const [{ run } = {}] = segments
  if (run === undefined) throw new Error('nothing was merged')
  expect(segments.length).toBeGreaterThan(2)
  const index = readIndex(run, files)
  let found = 0
  for (const { events: _, ...item } of expectedStore('merged').histories) {
    const groups = rowGroupsOf(index, item)
    for (const segment of segments) {
      const events = await readSegment(files.get(segment.key) ?? new Uint8Array(0), segment)
      const own = events.filter((event) => nameOf(event) === nameOf(item))
      const number = Number(segment.key.split('/').at(-1)?.slice(0, 4))
      // Each file has one row group here: all are of very few events.
      expect(
        groups.some((group) => index.places[group]?.file === number),
        item.id,
      ).toBe(own.length > 0)
      found += own.length
    }
  }
  expect(found).toBeGreaterThan(5)
  expect(rowGroupsOf(index, { kind: 'record', resource: 'users', id: 'eve' })).toEqual([])
  expect(rowGroupsOf(index, { kind: 'record', resource: 'users', id: 'nobody' })).toEqual([])
})

test('there are catalogues with nodes of several heights in both trees, and with nodes that nothing names any more', () => {
  for (const name of ['plain', 'record-keys']) {
    const nodes = [...filesOf(join(VECTORS, name, 'store'))].filter(([key]) => key.startsWith('node/'))
    const found = nodes.map(([, bytes]) => sealed<{ tree: string; height: number }>(bytes))
    const kinds = new Set(found.map(({ tree, height }) => `${tree} ${height}`))
    expect([...kinds].sort(), name).toEqual(['ledger 0', 'ledger 1', 'segments 0', 'segments 1', 'segments 2'])
    // Of the 10 that were made, an erasure by rewriting writes those on the way to a segment again.
    expect(nodes.length > 10, name).toBe(name === 'plain')
  }
})

test.each(['journal', 'encrypted-journal', 'store-journal'])(
  'a reader made from FORMAT.md alone reads the %s of a killed process, and settles it',
  async (name) => {
    const expected = expectedJournal(name)
    const directory = join(VECTORS, name, 'store')
    const opener = { passphrase: PASSPHRASE }
    const files = name === 'encrypted-journal' ? readSealedStore(directory, opener) : filesOf(directory)
    const { timeline } = readTimeline(files)
    const [{ id: stream, lastSequence } = { id: '', lastSequence: -1 }] = timeline.streams
    const isOnDisk = name !== 'store-journal'
    const names = isOnDisk ? filesOf(join(VECTORS, name, 'journal')) : []
    const own = [...names].map(([path, bytes]): [string, Uint8Array] => [path.split('/').at(-1) ?? '', bytes])
    const open = name === 'encrypted-journal' ? frameOpener(directory, opener, stream) : undefined
    const journal = isOnDisk ? readJournal(stream, new Map(own), open) : readStoreJournal(stream, files)
    expect(journal.tornBytes > 0).toBe(isOnDisk)
    const journalled = journal.frames.flatMap(({ events }) => events).filter(({ sequence }) => sequence > lastSequence)
    const events = [...(await eventsOf({ files, timeline, open: asTheyAre })), ...journalled]
    expect(events.map((event) => ({ id: event.id, ...eventText(event) }))).toEqual(expected.events)
    const intents = openIntents(journal)
    expect(intents.map(({ id }) => id).sort()).toEqual(
      isOnDisk ? ['ann', 'eve', 'happened', 'torn'] : ['eve', 'happened'],
    )
    const settled = intents.flatMap((intent) => {
      const [, , , json, raw] =
        expected.held.find(([kind, ...name]) => nameOf({ kind, resource: name[0], id: name[1] }) === nameOf(intent)) ??
        []
      const now: Image | null =
        json === undefined ? null : { json, raw: raw == null ? null : Buffer.from(raw, 'base64') }
      const context = settle(intent, now)
      const operation = intent.before === null ? 'insert' : now === null ? 'delete' : 'update'
      const { id, before } = intent
      return context === null ? [] : [{ id, operation, before: imageText(before), after: imageText(now), context }]
    })
    expect(settled.sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(
      expected.settled.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    )
  },
)

/** Not a write that was found afterwards. */
function isTold({ context: [, , metadata] }: Event): boolean {
  return metadata?.startsWith('{"tidemark":') !== true
}

function toldText({ before, after, context }: Event): object {
  return { before: imageText(before), after: imageText(after), context }
}
