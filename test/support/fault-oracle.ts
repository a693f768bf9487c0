import type { Archive } from '../../src/engine/archive.ts'
import type { Event } from '../../src/model/event.ts'
import { lastUlidAt, ulidTime } from '../../src/model/ulid.ts'
import { gapsOf } from '../../src/restore/gaps.ts'
import { isCutOff } from '../../src/restore/pruned.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import type { TimelineLog } from '../../src/timeline/log.ts'
import type { Tally } from '../campaign/campaign.ts'
import { show } from './arbitrary.ts'
import { openReader, stateAt, verify } from './capture-rig.ts'
import { allSegments } from './catalogue.ts'
import { FastClock, type Told, type Witness } from './fault-world.ts'
import { keyOf } from './model-database.ts'
import { allEvents } from './segments.ts'

interface Reader {
  readonly archive: Archive
  readonly timeline: TimelineLog
}

/** Holds what is in the store against what the application was told. Throws at the first difference. */
export async function checkHistory(
  store: ObjectStore,
  witness: Witness,
  tally: Tally,
  mayShed: boolean,
): Promise<void> {
  const reader = await openReader(store, new FastClock())
  try {
    await checkReader(reader, witness, tally, mayShed)
  } finally {
    reader.archive.close()
  }
}

async function checkReader(reader: Reader, witness: Witness, tally: Tally, mayShed: boolean): Promise<void> {
  const events = await eventsOf(reader)
  checkSequences(events, reader)
  const missing = checkTold(events, witness).filter((told) => !wasPruned(told, reader, witness))
  tally.add('events', events.length)
  const gaps = gapsOf(reader.timeline.timeline)
  if (gaps.length > 0 && !mayShed) throw new Error(`there is a gap: ${JSON.stringify(gaps[0])}`)
  checkGaps(missing, reader, tally)
  const { damage } = await verify(reader.archive)
  const alarms = damage.filter(({ code }) => code !== 'HISTORY_GAP')
  if (alarms.length > 0 || damage.length !== gaps.length) throw new Error(`verify: ${JSON.stringify(damage)}`)
  await checkMoments(reader, witness, tally)
}

async function eventsOf({ archive, timeline }: Reader): Promise<Event[]> {
  const events: Event[] = []
  for (const entry of await allSegments(archive.seams.store, timeline.timeline)) {
    events.push(...(await allEvents(await archive.sources.segments.open(entry))))
  }
  return events.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
}

/** Every sequence of a stream once, in the order of the stamps, and none missing that is not told. */
function checkSequences(events: readonly Event[], { timeline }: Reader): void {
  const gaps = gapsOf(timeline.timeline)
  for (const { id, lastSequence, base, shed = [] } of timeline.timeline.streams) {
    // What is left of what is before the base stands for single moments.
    const from = base?.sequence ?? 0
    const own = events.filter(({ stamp }) => stamp.stream === id).map(({ stamp }) => stamp.sequence)
    const sequences = own.filter((n) => n > from)
    // Of what was shed, no gap is left where it lies in what was pruned.
    const skipped = [
      ...gaps.filter(({ stream }) => stream === id),
      ...(timeline.timeline.pruned === undefined ? [] : shed),
    ]
    const expected = Array.from({ length: lastSequence }, (_, i) => i + 1).filter(
      (n) => n > from && !skipped.some((gap) => n >= gap.firstSequence && n <= (gap.lastSequence ?? n)),
    )
    if (JSON.stringify(sequences) !== JSON.stringify(expected)) {
      throw new Error(`stream ${id} has ${JSON.stringify(sequences)} instead of 1 to ${lastSequence}`)
    }
  }
  const ulids = new Set(events.map(({ stamp }) => stamp.ulid))
  if (ulids.size !== events.length) throw new Error('two events have one stamp')
}

/** Whether an event that is not there is told to be pruned, and was not promised any more. */
function wasPruned({ from, to }: Told, { timeline }: Reader, { keptFrom }: Witness): boolean {
  const { pruned = [] } = timeline.timeline
  const isTold = pruned.some((range) => ulidTime(range.from) <= to && Math.floor(from) <= ulidTime(range.through))
  return isTold && from < keptFrom
}

/**
 * Of each item, the events are what was told, in its order, each once; what is open may be there. Returns what was
 * acknowledged and is not there.
 */
export function checkTold(events: readonly Event[], { told }: Witness): Told[] {
  const missing: Told[] = []
  const found = Map.groupBy(events, (event) => keyOf(event))
  for (const [key, writes] of Map.groupBy(told, ({ item }) => keyOf(item))) {
    // While others are there, a write that leaves an item as it was is an event too, also the deletion of nothing.
    const isNew = ({ before, after }: Event, previous: Event | undefined): boolean => {
      const isNothing = after === null && (previous?.after ?? null) === null && show(before).includes('_unknown')
      return !isNothing && show(before) !== show(after)
    }
    const changes = (found.get(key) ?? [])
      .filter((event, i, all) => isNew(event, all[i - 1]))
      .map(({ before, after, context }) => {
        // Who observes what another write left tells it from what was known last, or from something unknown.
        const isObserved = context.metadata?.startsWith('{"tidemark":"observed') === true
        return { text: `${show(before)} -> ${show(after)}`, after: isObserved ? show(after) : null }
      })
    let at = 0
    const done = writes.filter(({ outcome }) => outcome !== 'refused')
    for (const [index, write] of done.entries()) {
      // One that was tried again in the same words did not happen the first time.
      const isRepeated = write.outcome === 'open' && done[index + 1]?.change === write.change
      if (isTold(changes[at], write.change) && !isRepeated) at++
      else if (write.outcome === 'acknowledged') missing.push(write)
    }
    if (at !== changes.length) {
      const wrote = writes.map(({ change, outcome }) => `${outcome}: ${brief(change)}`)
      throw new Error(
        `${key}: told ${wrote.join(', ')}; the history has ${changes.map(({ text }) => brief(text)).join(', ')}`,
      )
    }
    found.delete(key)
  }
  if (found.size > 0) throw new Error(`events of ${[...found.keys()].join(', ')} out of nowhere`)
  return missing
}

/** Whether an event is this change; of one that was observed what it left counts. */
function isTold(event: { readonly text: string; readonly after: string | null } | undefined, change: string): boolean {
  return event?.text === change || (event !== undefined && event.after === change.split(' -> ')[1])
}

function brief(change: string): string {
  return change.replaceAll(/"text":"x*"/g, '').slice(0, 120)
}

/** What the timeline says, for the message of a failure. */
function describe({ timeline }: TimelineLog): string {
  const gaps = gapsOf(timeline).map((gap) => {
    const { stream, firstSequence, lastSequence, afterUlid, beforeUlid } = gap
    return `gap ${firstSequence}-${lastSequence} of ${stream} in ${ulidTime(afterUlid)} to ${ulidTime(beforeUlid)}`
  })
  const snapshots = timeline.snapshots.map(
    ({ ulid, consistentFrom }) => `snapshot ${ulidTime(ulid)} to ${ulidTime(consistentFrom)}`,
  )
  const streams = timeline.streams.map(({ id, state, journal, openedAt, lastSequence, sealedThrough }) =>
    [state, journal.kind, id, ulidTime(openedAt), lastSequence, ulidTime(sealedThrough)].join(' '),
  )
  return [...gaps, ...snapshots, ...streams].join('; ')
}

/** What is missing was told to be, no more and no less, between the two stamps of the gap. */
function checkGaps(missing: readonly Told[], { timeline }: Reader, tally: Tally): void {
  const gaps = gapsOf(timeline.timeline)
  for (const { item, from, to } of missing) {
    const told = gaps.some(
      ({ afterUlid, beforeUlid }) => ulidTime(afterUlid) <= to && Math.floor(from) <= ulidTime(beforeUlid),
    )
    if (!told)
      throw new Error(`an acknowledged write of ${item.id}, from ${from} to ${to}, is lost; ${describe(timeline)}`)
  }
  const counted = gaps.reduce(
    (sum, { firstSequence, lastSequence }) => sum + (lastSequence ?? 0) - firstSequence + 1,
    0,
  )
  tally.add('shed', missing.length)
  tally.add('gaps', gaps.length)
  if (gaps.length > 0 && missing.length === 0 && counted === 0) throw new Error('a gap of nothing')
}

async function checkMoments({ archive, timeline }: Reader, witness: Witness, tally: Tally): Promise<void> {
  const { snapshots, pruned } = timeline.timeline
  const gaps = gapsOf(timeline.timeline).map((gap) => ({
    after: ulidTime(gap.afterUlid),
    before: ulidTime(gap.beforeUlid),
  }))
  for (const { at, state } of [...witness.checkpoints, { at: witness.end(), state: witness.state() }]) {
    const usable = snapshots.filter(
      (one) => ulidTime(one.consistentFrom) <= at && !isCutOff(pruned, one, lastUlidAt(at)),
    )
    const whole = usable.some(({ ulid }) => !gaps.some(({ after, before }) => before >= ulidTime(ulid) && after < at))
    const code = await codeOf(archive, at, state)
    if (code === null) tally.add('moments right')
    else if (code === 'MOMENT_UNREACHABLE' && usable.length === 0 && pruned === undefined)
      tally.add('moments before the baseline')
    else if (code === 'MOMENT_UNREACHABLE' && usable.length === 0 && at < witness.keptFrom) tally.add('moments pruned')
    else if (code === 'HISTORY_GAP' && !whole) tally.add('moments in a gap')
    else throw new Error(`moment ${at}: ${code}; ${describe(timeline)}`)
  }
}

/** The code of the refusal; null where the state is right. */
async function codeOf(archive: Archive, at: number, state: ReadonlyMap<string, string>): Promise<string | null> {
  let read: Map<string, string>
  try {
    read = await stateAt(archive, at)
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code)
    throw error
  }
  const differing = [...new Set([...read.keys(), ...state.keys()])].filter((key) => read.get(key) !== state.get(key))
  if (differing.length > 0) throw new Error(`the state at ${at} differs: ${differing.slice(0, 5).join(', ')}`)
  return null
}
