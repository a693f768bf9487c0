import type { MergedSegment, RunFile, SegmentEntry } from '../model/timeline.ts'

/*
 * The files of a run stand together in the catalogue, and all of them have the same `run`: in a list it stands once, and later
 * entries have the key of the chain file in its place.
 */
/** An entry as it stands in a list of a file of the catalogue. */
export type ListedSegment = SegmentEntry | (Omit<MergedSegment, 'run'> & { readonly run: string })

/** Entries as a list of a file has them. */
export function listedSegments(entries: readonly SegmentEntry[]): readonly ListedSegment[] {
  const told = new Map<string, string>()
  return entries.map((entry): ListedSegment => {
    if (!('run' in entry)) return entry
    const { key } = entry.run
    const text = JSON.stringify(entry.run)
    if (told.get(key) === text) return { ...entry, run: key }
    told.set(key, text)
    return entry
  })
}

/** The entries of a list of a file; what names a run that does not stand before it is left as it is, for who checks it. */
export function entriesOfList(listed: readonly unknown[]): readonly unknown[] {
  const runs = new Map<unknown, Partial<RunFile>>()
  return listed.map((value) => {
    if (!hasRun(value)) return value
    const { run } = value
    if (typeof run === 'string') return { ...value, run: runs.get(run) ?? run }
    if (isNamed(run)) runs.set(run.key, run)
    return value
  })
}

function hasRun(value: unknown): value is { readonly run: unknown } {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'run')
}

function isNamed(run: unknown): run is Partial<RunFile> {
  return typeof run === 'object' && run !== null && Object.hasOwn(run, 'key')
}
