import { beforeText, scopeText, stampText, unfinishedRestores } from '../engine/in-place.ts'
import type { KeyInfo } from '../engine/keys.ts'
import type { Status, StreamStatus } from '../engine/status.ts'
import { parseDuration } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, countText, durationText, pairs, plural, printable, table, timeText } from './format.ts'
import { holdLines, markLines } from './keep.ts'
import { keepingLines } from './keeping-text.ts'
import { type Paint, painter, writeLines } from './terminal.ts'
import { gapLines, verdictLines } from './verdict-text.ts'

/** Stamps that are less ahead of the clock come from bursts, and from clocks of two hosts. */
const NOTEWORTHY_MS = 1_000

/** Snapshots that are listed, the last ones. */
const MOST_SNAPSHOTS = 10

/** Of what retention has left, so many are told. */
const MOST_ISLANDS = 5

/** The options of `tidemark status`. */
export interface StatusOptions extends CommonOptions {
  readonly at?: string
  readonly failOnGap?: boolean
  /** A duration, such as `5m`. */
  readonly failOnLag?: string
}

/**
 * `tidemark status`: what the store holds and how far it reaches. Completes and changes nothing, but for `--at`, which
 * asks as a restore does. The exit code answers `--at`, `--fail-on-gap` and `--fail-on-lag`.
 */
export async function statusCommand(options: StatusOptions, around: Surroundings): Promise<number> {
  const limitMs = options.failOnLag === undefined ? null : parseDuration('--fail-on-lag', options.failOnLag)
  return withStore(options, around, async (tidemark) => {
    const { terminal } = around
    const asked = options.at === undefined ? null : await tidemark.reachable(options.at)
    const found = await tidemark.status()
    const status: Status = asked === null ? found : { ...found, verdict: asked }
    const paint = painter(terminal.out, terminal)
    const late = limitMs === null ? [] : status.streams.filter((stream) => isLate(stream, limitMs))
    const lines = asked === null ? statusLines(status, paint, storeArgument(options)) : verdictLines(asked, paint)
    const alarms = late.map((stream) => `${paint('red', 'lag')}: ${lagText(stream)}`)
    await writeLines(terminal.out, options.json ? [JSON.stringify(status)] : [...lines, ...alarms])
    return exitCode(status, asked !== null, options.failOnGap === true, late.length > 0)
  })
}

function exitCode({ verdict, gaps, streams }: Status, asked: boolean, failOnGap: boolean, late: boolean): number {
  const isAlarm = ({ acknowledged }: Status['gaps'][number]): boolean => acknowledged === null
  if (asked && verdict.verdict === 'no') return EXIT_CODES.notFound[0]
  if ((asked && verdict.gaps.some(isAlarm)) || (failOnGap && gaps.some(isAlarm))) return EXIT_CODES.gap[0]
  if (late) return EXIT_CODES.lag[0]
  // A moment that was asked for is final, whatever comes after it; what is missing now is another question.
  const isStalled = (!asked || failOnGap) && streams.some(({ condition }) => condition.state === 'stalled')
  return isStalled ? EXIT_CODES.stalled[0] : EXIT_CODES.ok[0]
}

/** Where nobody can tell how old the oldest event outside the store is, it may be as old as the last seal. */
function isLate({ condition, lagAtMostMs }: StreamStatus, limitMs: number): boolean {
  return (condition.lagMs ?? lagAtMostMs) > limitMs
}

function lagText({ id, condition, lagAtMostMs }: StreamStatus): string {
  const { state, lagMs, why } = condition
  return lagMs === null
    ? `stream ${id} (${state}): nobody here can tell, up to ${durationText(lagAtMostMs)}; ${printable(why ?? '')}`
    : `stream ${id} (${state}): ${durationText(lagMs)}`
}

/** A status for people. `store` is what the next commands repeat. */
function statusLines(status: Status, paint: Paint, store: string): string[] {
  const { reachable, segments, streams, epochs, gaps, generation } = status
  const { earliest, latest, limitedBy, islands } = reachable
  const limit = streams.find(({ id }) => id === limitedBy)
  const alarms = gaps.filter(({ acknowledged }) => acknowledged === null).length
  const lines = pairs([
    ['store', status.store],
    ['database', status.database],
    ...(status.encryption === null ? [] : [['encrypted', encryptionText(status.encryption.keys)] as const]),
    [
      'reachable',
      earliest === null
        ? paint('yellow', `nothing yet: ${nothingText(status)}`)
        : paint('green', `${earliest} to ${latest}`),
    ],
    ...(islands.length === 0 ? [] : [['and before', islandsText(islands)] as const]),
    ...(limit === undefined ? [] : [['limited by', limitText(limit)] as const]),
    [
      'segments',
      `${countText(segments.count)}, with ${plural(segments.events, 'event')} in ${bytesText(segments.bytes)}`,
    ],
    ...(isFilling(status) ? [['catalogue', paint('yellow', catalogueText(status))] as const] : []),
    ['timeline', `generation ${generation}, epoch ${epochs.at(-1)?.epoch ?? 0}${restoredText(status)}`],
    ['last drill', drillText(status, paint)],
    ['gaps', gaps.length === 0 ? 'none' : paint(alarms > 0 ? 'red' : 'yellow', gapCount(gaps.length, alarms))],
  ])
  for (const gap of gaps) lines.push(...gapLines(gap))
  // That nobody can tell is said where something is deleted.
  if (status.keeping.versions === 'kept') lines.push(...keepingLines(status.keeping))
  lines.push(...unfinishedLines(status, paint, store))
  if (status.verdict.verdict === 'except') lines.push(...verdictLines(status.verdict, paint))
  lines.push('', paint('bold', 'snapshots'), ...snapshotLines(status))
  if (status.marks.length > 0) lines.push('', paint('bold', 'marks'), ...markLines(status, '  '))
  if (status.holds.length > 0) lines.push('', paint('bold', 'holds'), ...holdLines(status, '  '))
  lines.push('', paint('bold', 'streams'), ...streamLines(streams, paint))
  lines.push('', paint('bold', 'next'), ...nextLines(status, store))
  return lines
}

/** What retention has left; of a snapshot alone, its stamp is the moment to give. */
function islandsText(islands: Status['reachable']['islands']): string {
  const shown = islands.slice(-MOST_ISLANDS).map(({ from, to }) => (from === to ? from : `${from} to ${to}`))
  const more = islands.length - shown.length
  return `${more === 0 ? '' : `${plural(more, 'older one')}, `}${shown.join(', ')}`
}

function nothingText({ snapshots, reachable }: Status): string {
  return snapshots.length === 0
    ? 'there is no snapshot'
    : `stream ${reachable.limitedBy} may hold events from before the first snapshot was complete`
}

/** Early enough to see it before it is too late: half of it took as long as what is left will. */
function isFilling({ catalogue: { bytes, limitBytes } }: Status): boolean {
  return bytes * 2 > limitBytes
}

function catalogueText({ catalogue: { bytes, limitBytes } }: Status): string {
  return `${bytesText(bytes)} of the ${bytesText(limitBytes)} that it can have: many streams are open; end those whose machine is gone`
}

function drillText({ drill }: Status, paint: Paint): string {
  if (drill === null) return 'none: tidemark drill proves that a restore works'
  const { passed, time, ageMs, moment } = drill
  const result = passed === null ? 'its file is damaged' : passed ? 'passed' : 'FAILED'
  const of = moment === null ? '' : ` of ${moment}`
  return `${paint(passed === true ? 'green' : 'red', result)}${of}, at ${time}, ${durationText(ageMs)} ago`
}

function gapCount(all: number, alarms: number): string {
  return alarms === 0 ? `${plural(all, 'gap')}, acknowledged` : `${plural(all, 'gap')}, ${alarms} not acknowledged`
}

function encryptionText(keys: readonly KeyInfo[]): string {
  return `yes; opens with ${keys.map(({ id, kind }) => `a ${kind} (id ${id})`).join(' or ')}`
}

function limitText({ id, host, pid }: StreamStatus): string {
  return `stream ${id}, open on ${host} (pid ${pid}); on that machine a later moment is asked of it`
}

/** A restore in place that is under way, or was broken off: the database is then restored in part. */
function unfinishedLines({ epochs, database }: Status, paint: Paint, store: string): string[] {
  const [first] = unfinishedRestores(epochs)
  if (first === undefined) return []
  const target = database.includes('://') ? printable(database) : '<its connection string>'
  const rest = `${scopeText(first.restoring)} --target ${target} --in-place --yes${store}`
  return [
    `${paint('red', 'restore not finished')}: of ${stampText(first.restored)}, in place, begun ${timeText(first.startedAt)}. Where its process has ended, the database is restored in part:`,
    `  finish it:     tidemark restore --to ${stampText(first.restored)}${rest}`,
    `  take it back:  tidemark restore --to ${beforeText(first)}${rest}`,
  ]
}

function restoredText({ epochs }: Status): string {
  const last = epochs.at(-1)
  return last === undefined || last.restored === null
    ? ''
    : `, begun ${timeText(last.startedAt)} by a restore of ${timeText(last.restored)}`
}

function snapshotLines({ snapshots, replay }: Status): string[] {
  if (snapshots.length === 0) return ['  none: capture takes the first by itself']
  const earlier = snapshots.length - MOST_SNAPSHOTS
  const rows = snapshots
    .slice(-MOST_SNAPSHOTS)
    .map(({ ulid, time, records, bytes }) => [time, ulid, countText(records), bytesText(bytes)])
  return [
    ...(earlier > 0 ? [`  ${plural(earlier, 'earlier one')}, the first of ${snapshots[0]?.time}; --json has all`] : []),
    ...table(['consistent from', 'snapshot', 'records', 'size'], rows, '  '),
    ...(replay === null
      ? []
      : [
          `  since the last, ${durationText(replay.ageMs)} ago: ${plural(replay.events, 'event')}, which a restore of latest replays`,
        ]),
  ]
}

function streamLines(streams: readonly StreamStatus[], paint: Paint): string[] {
  if (streams.length === 0) return ['  none']
  const rows = streams.map(({ id, condition, host, pid, lastSequence, sealedThroughTime, lastEvent }) => [
    id,
    condition.state,
    host,
    String(pid),
    countText(lastSequence),
    condition.pending === null ? '?' : countText(condition.pending.events),
    sealedThroughTime,
    lastEvent === null ? 'none' : `${lastEvent.time}, ${durationText(lastEvent.ageMs)} ago`,
  ])
  const header = ['stream', 'state', 'host', 'pid', 'stored', 'waiting', 'complete up to', 'last known event']
  const ahead = streams.filter(({ clockAheadMs }) => clockAheadMs >= NOTEWORTHY_MS)
  const troubled = streams.filter(({ condition }) => condition.why !== null)
  return [
    ...table(header, rows, '  '),
    ...ahead.map(({ id, clockAheadMs }) => `  ${paint('yellow', id)}: ${aheadText(clockAheadMs)}`),
    ...troubled.map((stream) => `  ${paint('yellow', stream.id)}: ${troubleText(stream)}`),
  ]
}

function troubleText({ condition, lagAtMostMs }: StreamStatus): string {
  const why = printable(condition.why ?? '')
  if (condition.state !== 'stalled') return why
  return `nothing of it for ${durationText(lagAtMostMs)}, and nobody can be asked: ${why}`
}

function aheadText(ms: number): string {
  return `its stamps are ${durationText(ms)} ahead of the clock, which was set back; give events, not times, as moments`
}

function nextLines({ reachable, gaps, streams }: Status, store: string): string[] {
  const { latest } = reachable
  const verify = `  tidemark verify${store}`
  const gone = streams.filter(({ condition }) => condition.state === 'stalled')
  const ends = gone.map(({ id }) => `  tidemark stream end ${id} --reason <why> --name <who>${store}`)
  if (latest === null) return ['  start the application with the plugin, and look again', ...ends, verify]
  return [
    ...(gaps.length === 0 ? [] : [verify]),
    ...ends,
    `  tidemark log <resource>/<id>${store}`,
    `  tidemark show <resource>/<id> --at ${latest}${store}`,
    `  tidemark restore --to ${latest} --target file:./recovered --dry-run${store}`,
  ]
}
