import { TidemarkError } from '../base/errors.ts'

/** The ways in which a command ends. */
export type ExitMeaning =
  | 'ok'
  | 'failed'
  | 'usage'
  | 'notFound'
  | 'damaged'
  | 'conflict'
  | 'unavailable'
  | 'gap'
  | 'lag'
  | 'differs'
  | 'stalled'
  | 'remains'
  | 'locked'
  | 'hungUp'
  | 'interrupted'
  | 'terminated'

/** What each exit code of the command line means: the one table, which `--help` prints. */
export const EXIT_CODES: Readonly<Record<ExitMeaning, readonly [number, string]>> = {
  ok: [0, 'done'],
  failed: [1, 'an unexpected failure: please report it'],
  usage: [2, 'the command, an option, a moment or a target is not valid'],
  notFound: [3, 'no such store, resource, record, event, mark or hold, or the moment cannot be reached'],
  damaged: [4, 'damage was found: a file is corrupt or events are missing'],
  conflict: [5, 'refused as things stand: --yes is needed, or something else holds the place'],
  unavailable: [6, 'the store or a directory is not available: no permission, no space, no connection'],
  gap: [7, 'status: events are missing that nobody has acknowledged (--fail-on-gap, --at)'],
  lag: [8, 'status: events wait longer for the store than --fail-on-lag allows, or nobody can tell'],
  differs: [9, 'reconcile: the database is not as its history says: writes that were not captured were found'],
  stalled: [10, 'status: a stream may hold later events, and nobody can be asked'],
  remains: [11, 'done as far as the store lets go: the output names what stays, and until when'],
  locked: [12, 'the store is encrypted, and its key is missing or wrong'],
  hungUp: [129, 'ended by SIGHUP: the terminal is gone'],
  interrupted: [130, 'interrupted (Ctrl-C)'],
  terminated: [143, 'ended by SIGTERM'],
}

const BY_STATUS: ReadonlyMap<number, ExitMeaning> = new Map([
  [400, 'usage'],
  [501, 'usage'],
  [401, 'locked'],
  [404, 'notFound'],
  [409, 'conflict'],
  [403, 'unavailable'],
  [507, 'unavailable'],
  [413, 'unavailable'],
])

/** The exit code for anything that was thrown; derived from category and status, so that a new error code has one too. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof TidemarkError)) return EXIT_CODES.failed[0]
  const { category, status } = error
  if (category === 'corrupt') return EXIT_CODES.damaged[0]
  if (category === 'conflict') return EXIT_CODES.conflict[0]
  if (category === 'transient') return EXIT_CODES.unavailable[0]
  return EXIT_CODES[BY_STATUS.get(status) ?? 'failed'][0]
}

/** The table as `--help` prints it. */
export function exitCodeHelp(): string {
  const lines = Object.values(EXIT_CODES).map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`)
  return ['Exit codes:', ...lines].join('\n')
}
