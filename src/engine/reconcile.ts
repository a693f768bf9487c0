import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Source } from '../capture/source.ts'
import type { Item } from '../model/event.ts'
import type { Finding } from '../model/found.ts'
import { UlidGenerator } from '../model/ulid.ts'
import { type Reconciliation, reconcile } from '../upkeep/reconcile.ts'
import type { Archive } from './archive.ts'
import { requireKnown } from './names.ts'
import { checkOptions, checkResources } from './options.ts'
import type { Session } from './session.ts'

/** How the live database is compared with its history. */
export interface ReconcileOptions {
  /** The live database, where this process does not capture it. */
  readonly source?: Source
  /** Append an event for each finding, marked as found; this process must capture the database. Default: false. */
  readonly record?: boolean
  /** Only these resources. Default: everything. */
  readonly resources?: readonly string[]
  /** Only these items, instead of all: nothing else is read. */
  readonly items?: readonly Item[]
  /** Called for each finding, after it was recorded. */
  readonly onFinding?: (finding: Finding) => void | Promise<void>
}

const NAMES = ['source', 'record', 'resources', 'items', 'onFinding']

/** Compares the captured database, or the one that is given, with the history. */
export async function reconcileWith(
  archive: Archive,
  session: Session | null,
  captured: Source | null,
  options: ReconcileOptions,
  signal?: AbortSignal,
): Promise<Reconciliation> {
  checkOptions('reconcile', options, NAMES)
  const { source = captured, record = false, resources, items, onFinding = (): void => {} } = options
  if (source === null || (source !== captured && captured !== null)) throw wrongSource(captured !== null)
  if (record && session === null) throw notCapturing()
  const { clock, complete } = archive.seams
  await complete(null) // a baseline that is under way is waited for here, where no item is locked
  checkResources('reconcile', resources)
  if (resources !== undefined) await requireKnown(archive, (await archive.know()).plan, source, resources)
  const seams = {
    source,
    sources: archive.sources,
    clock,
    recorder: session?.recorder ?? null,
    know: () => archive.know(),
    mark: markOf(session, clock),
  }
  const run = {
    record,
    onFinding,
    ...(resources === undefined ? {} : { resources }),
    ...(items === undefined ? {} : { items }),
  }
  return reconcile(seams, signal === undefined ? run : { ...run, signal })
}

function markOf(session: Session | null, clock: Clock): () => string {
  if (session !== null) return () => session.mark()
  const ulids = new UlidGenerator(() => clock.now())
  return () => ulids.next()
}

function wrongSource(captures: boolean): TidemarkError {
  return captures
    ? new TidemarkError('OPTION_INVALID', 'This process captures another database than the one that was given.', {
        hint: 'Leave out source: the database that is captured is compared.',
      })
    : new TidemarkError('OPTION_INVALID', 'There is no live database to compare the history with.', {
        hint: 'Give source, or open the store with the source that is captured.',
      })
}

function notCapturing(): TidemarkError {
  return new TidemarkError('OPTION_INVALID', 'Only a process that captures the database can record what it finds.', {
    hint: 'Open the store with its source, or use `tidemark reconcile --record`.',
  })
}
