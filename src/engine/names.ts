import { TidemarkError } from '../base/errors.ts'
import { didYouMean, nearestNames } from '../base/nearest.ts'
import type { Source } from '../capture/source.ts'
import { lastUlidAt } from '../model/ulid.ts'
import { findVersion } from '../restore/lookup.ts'
import { type Plan, planRestore } from '../restore/plan.ts'
import { replay } from '../restore/replay.ts'
import type { Selection, Target } from '../restore/target.ts'
import type { Archive } from './archive.ts'

/** So many ids are looked up one by one; more are found in one pass. */
const FEW = 32
/** Names that are looked at for one that is like what was typed. */
const MOST_LOOKED_AT = 10_000
const MOST_NAMED = 5

/** Errors: `RESOURCE_NOT_FOUND` where nothing of the resource existed at the plan's moment. */
export async function requireResource(archive: Archive, plan: Plan, resource: string): Promise<void> {
  if (!(await hasResource(archive, plan, resource))) throw await noResource(archive, plan, resource)
}

/**
 * Sees that a resource of which nothing was found is none that was mistyped. Errors: `RESOURCE_NOT_FOUND` where nothing of
 * it existed at the plan's moment, nor at the end of the history. A database without schemas has any resource.
 */
export async function requireEver(archive: Archive, plan: Plan, resource: string): Promise<void> {
  if (await hasResource(archive, plan, resource)) return
  const { timeline } = await archive.refresh()
  const end = await planRestore(archive.sources.nodes, timeline, lastUlidAt(2 ** 48 - 1))
  if ((await resourcesAt(archive, end)).length === 0 || (await hasResource(archive, end, resource))) return
  throw await noResource(archive, end, resource)
}

async function hasResource({ sources }: Archive, plan: Plan, resource: string): Promise<boolean> {
  // One item, which most resources have: the pass over everything is for the others.
  const schema = await findVersion(sources, plan, { kind: 'schema', resource, id: '' })
  if (schema !== null && schema.image !== null) return true
  for await (const batch of replay(sources, plan, { resources: [resource] })) if (batch.length > 0) return true
  return false
}

/** The error for a resource of which nothing existed at the plan's moment. */
export async function noResource(archive: Archive, plan: Plan, resource: string): Promise<TidemarkError> {
  const names = await resourcesAt(archive, plan)
  const known = names.slice(0, MOST_NAMED * 2).join(', ')
  const all = names.length === 0 ? '' : `There were: ${known}${names.length > MOST_NAMED * 2 ? ', ...' : ''}. `
  return new TidemarkError(
    'RESOURCE_NOT_FOUND',
    `There was no resource ${resource} at that moment. Nothing was changed.`,
    {
      hint: `${didYouMean(nearestNames(resource, names))}${all}Upper and lower case differ; or look at another moment.`,
      details: { resource },
    },
  )
}

/** The resources that have a schema at the plan's moment. Schemas come first, so little more is read. */
async function resourcesAt({ sources }: Archive, plan: Plan): Promise<readonly string[]> {
  const names: string[] = []
  for await (const batch of replay(sources, plan, {})) {
    for (const { kind, resource } of batch) if (kind === 'schema' && resource !== '') names.push(resource)
    if (batch.some(({ kind }) => kind !== 'schema')) break
  }
  return names
}

/** Errors: `RESOURCE_NOT_FOUND` where neither the history nor the live database knows a resource. */
export async function requireKnown(
  archive: Archive,
  plan: Plan,
  source: Pick<Source, 'items'>,
  resources: readonly string[],
): Promise<void> {
  for (const resource of resources) {
    if (!(await isLive(source, resource))) await requireResource(archive, plan, resource)
  }
}

async function isLive(source: Pick<Source, 'items'>, resource: string): Promise<boolean> {
  for await (const items of source.items([resource])) if (items.some((item) => item.resource === resource)) return true
  return false
}

/**
 * Sees that every record that was chosen is known: it existed at the moment, or the target has it, so that the restore takes it
 * away. Errors: `RECORD_NOT_FOUND`, naming those that are not and what is like them.
 */
export async function requireRecords(
  archive: Archive,
  plan: Plan,
  { resources = [], ids = [] }: Selection,
  target: Pick<Target, 'takes' | 'scan'>,
): Promise<void> {
  if (ids.length === 0) return
  const unknown = await missingAt(archive, plan, resources, new Set(ids))
  if (unknown.size > 0 && target.takes === 'differences') {
    for await (const batch of target.scan({ resources, ids: [...unknown] }))
      for (const { kind, id } of batch) if (kind === 'record') unknown.delete(id)
  }
  if (unknown.size === 0) return
  const named = [...unknown].slice(0, MOST_NAMED)
  const more = unknown.size > named.length ? ` and ${unknown.size - named.length} more` : ''
  const near = await nearestIds(archive, plan, resources, named)
  throw new TidemarkError(
    'RECORD_NOT_FOUND',
    `There was no record ${named.join(', ')}${more} of ${resources.join(', ')} at that moment. Nothing was changed.`,
    {
      hint: `${didYouMean(near)}See when one existed: tidemark log <resource>/<id>; upper and lower case differ.`,
      details: { unknown: unknown.size, id: named[0] ?? null },
    },
  )
}

/** What a record that was not there at the plan's moment was probably meant to be: names of the form resource/id, at most five. */
export async function nearestRecords(
  archive: Archive,
  plan: Plan,
  resource: string,
  id: string,
): Promise<readonly string[]> {
  const names = await resourcesAt(archive, plan)
  if (!names.includes(resource) && names.length > 0) return nearestNames(resource, names).map((name) => `${name}/${id}`)
  return (await nearestIds(archive, plan, [resource], [id])).map((near) => `${resource}/${near}`)
}

/** Ids of records at the plan's moment that one of these was probably meant to be; the first 10,000 are looked at. */
async function nearestIds(
  { sources }: Archive,
  plan: Plan,
  resources: readonly string[],
  wanted: readonly string[],
): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const batch of replay(sources, plan, { resources })) {
    for (const { kind, id } of batch) if (kind === 'record') ids.push(id)
    if (ids.length >= MOST_LOOKED_AT) break
  }
  return [...new Set(wanted.flatMap((id) => nearestNames(id, ids)))].slice(0, MOST_NAMED)
}

async function missingAt(
  { sources }: Archive,
  plan: Plan,
  resources: readonly string[],
  ids: ReadonlySet<string>,
): Promise<Set<string>> {
  const missing = new Set(ids)
  if (ids.size * resources.length > FEW) {
    for await (const batch of replay(sources, plan, { resources, ids: [...ids] }))
      for (const { kind, id } of batch) if (kind === 'record') missing.delete(id)
    return missing
  }
  for (const id of ids) {
    for (const resource of resources) {
      const version = await findVersion(sources, plan, { kind: 'record', resource, id })
      if (version?.image != null) missing.delete(id)
    }
  }
  return missing
}
