import { TidemarkError } from '../base/errors.ts'
import type { Head } from '../model/head.ts'
import type { StreamEntry } from '../model/timeline.ts'
import { reachOf, reachTimes } from '../restore/reach.ts'
import { Segments } from '../restore/segments.ts'
import { Snapshots } from '../restore/snapshots.ts'
import type { Environment } from '../store/encryption/secret.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreSpec } from '../store/open.ts'
import { segmentNodes } from '../timeline/segments.ts'
import { commitRepair, planRepair, type RepairPlan } from '../upkeep/repair.ts'
import type { OnDamage, OnFile } from '../upkeep/verify/inspection.ts'
import { type Listeners, type Verification, verifyStore, withDamage } from '../upkeep/verify.ts'
import { livenessOfStream } from './liveness.ts'
import { openForReading, placeOf } from './opening.ts'
import { checkOptions } from './options.ts'
import { openScratch } from './scratch.ts'

/** How a catalogue is made again. */
export interface RepairOptions {
  /** Commit it. Default: false, only tell. */
  readonly apply?: boolean
  readonly onFile?: OnFile
  /** Called with each file that is taken out of the catalogue, as it is found; again where a plan had to be made again. */
  readonly onTakenOut?: OnDamage
}

/** What a repair found, and would do or has done. */
export interface RepairReport extends Omit<RepairPlan, 'timeline' | 'previous' | 'latest' | 'isTakenOut' | 'indexes'> {
  /** What can be restored with the catalogue as it would be, as far as no gap is in the way; null: nothing. */
  readonly reachable: ReturnType<typeof reachTimes>
  /** The generation that was committed; null where nothing was. */
  readonly generation: number | null
}

/** Plans that lose to others who commit this often are given up. */
const MOST_ATTEMPTS = 5

/**
 * Makes the catalogue of a store again where it is damaged or lost, from the store alone, or tells how that would be. Reads
 * every file. What is damaged stays as it is; nothing is deleted. Errors: `STREAM_LIVE` where a process that captures is
 * running: it has the catalogue in memory; those of opening a store.
 */
export async function repairStore(
  spec: string | StoreSpec,
  options: RepairOptions = {},
  environment: Environment = process.env,
): Promise<RepairReport> {
  checkOptions('repair', options, ['apply', 'onFile', 'onTakenOut'])
  const { store } = await openForReading(await placeOf(spec, environment))
  for (let attempt = 1; ; attempt++) {
    const plan = await planRepair(store, options.onFile ?? (() => {}), options.onTakenOut)
    if (options.apply !== true || !plan.isNeeded) return reportOf(plan, null)
    await requireNobodyWrites(plan)
    if (await commitRepair(store, plan)) return reportOf(plan, plan.timeline.generation)
    if (attempt === MOST_ATTEMPTS) throw raced()
  }
}

/** How a store is verified whose timeline cannot be read. */
export interface DamagedVerification {
  /** Bytes. */
  readonly memory: number
  readonly listeners: Listeners
  /** A head that was noted; null: none. */
  readonly noted: Head | null
}

/**
 * Verifies a store whose timeline cannot be read, by what that would be once it is repaired: everything that is damaged is
 * named, the files of the timeline among it. Errors: those of opening a store.
 */
export async function verifyDamaged(
  spec: string | StoreSpec,
  how: DamagedVerification,
  environment: Environment = process.env,
): Promise<Verification> {
  const { store } = await openForReading(await placeOf(spec, environment))
  return verifyRepaired(store, how)
}

/** The same of a store that is open. */
export async function verifyRepaired(
  store: ObjectStore,
  { memory, listeners, noted }: DamagedVerification,
): Promise<Verification> {
  const plan = await planRepair(store, () => {}, listeners.onDamage)
  for (const damage of plan.remade) await listeners.onDamage(damage)
  const remade = new Set([...plan.remade.map(({ key }) => key), ...plan.indexes.map(({ file }) => file.key)])
  const isTold = (key: string): boolean => plan.isTakenOut(key) || remade.has(key)
  const { repairs = [], ...rest } = plan.timeline
  const made = repairs.filter(({ generation }) => generation !== rest.generation)
  const timeline = { ...rest, generation: Math.max(1, plan.latest), ...(made.length === 0 ? {} : { repairs: made }) }
  const scratch = openScratch()
  try {
    const sources = {
      store,
      segments: new Segments(store),
      snapshots: new Snapshots(store),
      nodes: segmentNodes(store),
      memory,
      scratch: () => scratch.store,
      open: null,
    }
    // What the plan has taken out of the timeline, or makes anew, is told by now, and may be found once more.
    let [again, namedAgain] = [0, 0]
    const others: Listeners = {
      ...listeners,
      onDamage: (damage) => {
        if (!isTold(damage.key)) return listeners.onDamage(damage)
        again++
      },
      onUnreferenced: (key) => {
        if (!isTold(key)) return listeners.onUnreferenced(key)
        namedAgain++
      },
    }
    const found = await verifyStore(sources, timeline, others, noted)
    const unreferenced = found.unreferenced.filter((key) => !isTold(key))
    const damage = found.damage.filter(({ key }) => !isTold(key))
    const counts = { damaged: found.damaged - again, unnamed: found.unnamed - namedAgain }
    const told = [...plan.takenOut, ...plan.remade]
    return withDamage(told, plan.taken + plan.remade.length, { ...found, ...counts, damage, unreferenced })
  } finally {
    scratch.dispose()
  }
}

function reportOf(
  { timeline, previous: _, latest: __, isTakenOut: ___, indexes: ____, ...found }: RepairPlan,
  generation: number | null,
): RepairReport {
  return { ...found, reachable: reachTimes(reachOf(timeline)), generation }
}

/**
 * Who captures may have what is lost in memory, and commits all of it with the next write. Where nothing is lost, a repair is a
 * commit like any other.
 */
async function requireNobodyWrites({ timeline, lost, latest }: RepairPlan): Promise<void> {
  if (lost.length === 0 && latest > 0) return
  for (const stream of timeline.streams) {
    if (stream.state === 'open' && (await livenessOfStream(stream)) === 'alive') throw live(stream)
  }
}

function live({ id, host, pid }: StreamEntry): TidemarkError {
  return new TidemarkError(
    'STREAM_LIVE',
    `Stream ${id} is being written by process ${pid} of ${host}, which may have the whole catalogue in memory. Nothing was changed.`,
    {
      hint: 'Let it write and flush once, which commits it, and look again; or stop it, and then repair.',
      details: { stream: id, host, pid },
    },
  )
}

function raced(): TidemarkError {
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    'Others committed each time before the repair could. Nothing was changed.',
    {
      hint: 'Stop the processes that write to this store, and repair again.',
    },
  )
}
