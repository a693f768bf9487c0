import type { Clock } from '../base/clock.ts'
import { readState } from '../capture/check.ts'
import type { Recorder } from '../capture/recorder.ts'
import type { Source } from '../capture/source.ts'
import { type Image, type Item, imageBytes, sameImage } from '../model/event.ts'
import type { Version } from '../model/fold.ts'
import { type Finding, type FindingKind, findingKind } from '../model/found.ts'
import { compareItems } from '../model/order.ts'
import type { Ulid } from '../model/ulid.ts'
import { compareStates } from '../restore/difference.ts'
import { findVersion } from '../restore/lookup.ts'
import type { Plan } from '../restore/plan.ts'
import { type ReplaySources, replay } from '../restore/replay.ts'
import type { Difference } from '../restore/target.ts'
import { liveStates, readItems } from './live.ts'

/** What is known of the history at one time. */
export interface Knowledge {
  /** The state by everything that is in the store. */
  readonly plan: Plan
  /** What a crashed process may have written or not: only its next start tells. */
  readonly undecided: readonly Item[]
  /** Open streams that could not be asked to bring what they hold into the store. */
  readonly unheard: readonly string[]
}

/** What a reconciliation works with. */
export interface ReconcileSeams {
  readonly source: Source
  readonly sources: ReplaySources
  readonly clock: Clock
  /** The capture of the database by this process, or null. */
  readonly recorder: Recorder | null
  /** Brings every event of every write that was begun before the call into the store, and says what is known then. */
  readonly know: () => Promise<Knowledge>
  /** A stamp after every event so far of this process. */
  readonly mark: () => Ulid
}

/** How a reconciliation is done. */
export interface ReconcileRun {
  /** Append an event for each finding; needs a recorder. */
  readonly record: boolean
  readonly resources?: readonly string[]
  /** Only these; nothing else is read. */
  readonly items?: readonly Item[]
  readonly onFinding: (finding: Finding) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** What a reconciliation found: items of the database against the state of the history. */
export interface Reconciliation extends Readonly<Record<FindingKind, number>> {
  readonly same: number
  /** Findings that are events of the history now. */
  readonly recorded: number
  /** Items that differ and of which it cannot be told whether a captured write explains it, and why. */
  readonly undecided: number
  readonly undecidedBecause: readonly string[]
}

/** Items that are decided at once: their images are in memory together. */
const BATCH = 500
const BATCH_BYTES = 16 * 1024 * 1024
/** Items that are locked together while they are recorded. */
const RECORD_BATCH = 50
/** An item that is written all the time is looked at so often, with growing pauses. */
const ROUNDS = 6
const PAUSE_MS = 5

const WRITTEN = 'they are written all the time'
const FULL = 'the journal is full, so that nothing can be recorded'
const CRASHED = 'a process crashed while it wrote them; the next start of the capture settles that'

/**
 * Compares the live database with the state by the history; neither is held in memory. Writes go on meanwhile, also
 * in other processes, so a difference is only a candidate. It is a finding where the item is read between two looks at
 * the history that know of the same last event, the second of them with every write that was begun before it: then no
 * captured write can have left behind what was read.
 */
export async function reconcile(seams: ReconcileSeams, run: ReconcileRun): Promise<Reconciliation> {
  const first = await seams.know()
  const judge = new Judge(seams, run, first)
  if (run.items === undefined) await compareAll(seams, run, first, judge)
  else for (const item of run.items) await judge.add({ ...item, before: null, after: null })
  await judge.finish()
  const because = [...judge.because].sort()
  return { ...judge.counts, undecidedBecause: because }
}

async function compareAll(seams: ReconcileSeams, run: ReconcileRun, first: Knowledge, judge: Judge): Promise<void> {
  const { source, sources } = seams
  const selection = run.resources === undefined ? {} : { resources: run.resources }
  const known = replay(sources, first.plan, selection)
  const live = liveStates(source, (item) => readState(source, item), run.resources)
  for await (const { differences, unchanged } of compareStates(known, live)) {
    run.signal?.throwIfAborted()
    judge.counts.same += unchanged
    for (const difference of differences) await judge.add(difference)
  }
}

/** What came of looking at some items. */
interface Judgement {
  readonly findings: readonly Finding[]
  /** Those that were written meanwhile, or of which somebody may know more: to be looked at again. */
  readonly open: readonly Item[]
  /** Why some are open for another reason than being written. */
  readonly because: ReadonlySet<string>
}

/** Decides about candidates, batch by batch. */
class Judge {
  readonly counts: Record<FindingKind | 'same' | 'recorded' | 'undecided', number> = {
    added: 0,
    changed: 0,
    removed: 0,
    same: 0,
    recorded: 0,
    undecided: 0,
  }
  /** Why some were given up. */
  readonly because: Set<string> = new Set<string>()
  readonly #seams: ReconcileSeams
  readonly #run: ReconcileRun
  /** As of the last look. */
  #known: Knowledge
  #batch: Item[] = []
  #bytes = 0

  constructor(seams: ReconcileSeams, run: ReconcileRun, known: Knowledge) {
    this.#seams = seams
    this.#run = run
    this.#known = known
  }

  async add({ kind, resource, id, before, after }: Difference): Promise<void> {
    this.#batch.push({ kind, resource, id })
    this.#bytes += imageBytes(before) + imageBytes(after)
    if (this.#batch.length >= BATCH || this.#bytes >= BATCH_BYTES) await this.finish()
  }

  /** Decides about everything that was added. */
  async finish(): Promise<void> {
    let open: readonly Item[] = this.#batch
    let because: ReadonlySet<string> = new Set()
    this.#batch = []
    this.#bytes = 0
    // What was in the way for a whole batch is not waited for again.
    for (let round = this.because.size > 0 ? ROUNDS - 1 : 0; open.length > 0 && round < ROUNDS; round++) {
      this.#run.signal?.throwIfAborted()
      if (round > 0) await this.#seams.clock.sleep(PAUSE_MS * 2 ** round)
      const judged = await this.#round(open)
      open = judged.open
      because = judged.because
    }
    this.counts.undecided += open.length
    for (const reason of because) this.because.add(reason)
    if (open.length > 0 && because.size === 0) this.because.add(WRITTEN)
  }

  /** Looks at the items once, and reports and records what it finds. */
  async #round(items: readonly Item[]): Promise<Pick<Judgement, 'open' | 'because'>> {
    const { recorder, source } = this.#seams
    const read = (item: Item): Promise<Image | null> =>
      recorder === null ? readState(source, item) : recorder.betweenWrites(item, () => readState(source, item))
    const judged = await this.#judge(items, read)
    if (!this.#run.record || recorder === null) {
      for (const finding of judged.findings) await this.#report(finding, false)
      return judged
    }
    const open = [...judged.open]
    const because = new Set(judged.because)
    for (let i = 0; i < judged.findings.length; i += RECORD_BATCH) {
      const part = judged.findings.slice(i, i + RECORD_BATCH)
      // Once more, with the items locked until their events are stamped.
      const recorded = await recorder.record(part, async () => {
        const again = await this.#judge(part, (item) => readState(source, item))
        open.push(...again.open)
        for (const reason of again.because) because.add(reason)
        return again.findings
      })
      for (const finding of recorded ?? []) await this.#report(finding, true)
      if (recorded !== null) continue
      open.push(...part)
      because.add(FULL)
    }
    return { open, because }
  }

  async #judge(items: readonly Item[], read: (item: Item) => Promise<Image | null>): Promise<Judgement> {
    const { know, mark } = this.#seams
    const earlier = this.#known
    const was = await this.#versions(earlier.plan, items)
    const live = await readItems(items, read)
    const at = mark()
    const later = await know()
    this.#known = later
    const is = samePlan(earlier.plan, later.plan) ? was : await this.#versions(later.plan, items)
    const [findings, open, because]: [Finding[], Item[], Set<string>] = [[], [], new Set()]
    for (const [i, { kind, resource, id }] of items.entries()) {
      const item = { kind, resource, id }
      const [before, after] = [is[i]?.image ?? null, live[i] ?? null]
      if (sameImage(before, after)) continue
      const since = lastKnown(is[i] ?? null, later.plan)
      const moved = lastKnown(was[i] ?? null, earlier.plan) !== since
      const reasons = inTheWay(item, later)
      for (const reason of reasons) because.add(reason)
      if (moved || reasons.length > 0) open.push(item)
      else findings.push({ ...item, before, after, interval: { after: since, before: at } })
    }
    this.counts.same += items.length - open.length - findings.length
    return { findings, open, because }
  }

  #versions(plan: Plan, items: readonly Item[]): Promise<(Version | null)[]> {
    return readItems(items, (item) => findVersion(this.#seams.sources, plan, item))
  }

  async #report(finding: Finding, recorded: boolean): Promise<void> {
    this.counts[findingKind(finding)]++
    if (recorded) this.counts.recorded++
    await this.#run.onFinding(finding)
  }
}

/** Why nobody can tell now whether a captured write explains the item. */
function inTheWay(item: Item, { unheard, undecided }: Knowledge): string[] {
  const reasons = unheard.map((stream) => `stream ${stream} is open and cannot be asked from here`)
  return undecided.some((other) => compareItems(item, other) === 0) ? [...reasons, CRASHED] : reasons
}

/** The event that left the state of an item, or the snapshot that has it, or does not have it. */
function lastKnown(version: Version | null, { snapshot }: Plan): Ulid {
  return version?.ulid ?? snapshot.ulid
}

/** Whether both read the same files: then they say the same. */
function samePlan(a: Plan, b: Plan): boolean {
  if (a.snapshot.ulid !== b.snapshot.ulid || a.segments.length !== b.segments.length) return false
  return a.segments.every(({ key }, i) => key === b.segments[i]?.key)
}
