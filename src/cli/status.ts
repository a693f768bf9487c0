import type { Status, StreamStatus } from '../engine/status.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { bytesText, countText, pairs, plural, table, timeText } from './format.ts'
import { type Paint, painter, writeLines } from './terminal.ts'

/** `tidemark status`: what the store holds and how far it reaches. Completes and changes nothing. */
export async function statusCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const { terminal } = around
    const status = await tidemark.status()
    const lines = options.json
      ? [JSON.stringify(status)]
      : statusLines(status, painter(terminal.out, terminal), storeArgument(options))
    await writeLines(terminal.out, lines)
  })
}

/** A status for people. `store` is what the next commands repeat. */
function statusLines(status: Status, paint: Paint, store: string): string[] {
  const { reachable, segments, streams, epochs, gaps, generation } = status
  const { earliest, latest, limitedBy } = reachable
  const limit = streams.find(({ id }) => id === limitedBy)
  const lines = pairs([
    ['store', status.store],
    ['database', status.database],
    [
      'reachable',
      earliest === null
        ? paint('yellow', 'nothing yet: there is no snapshot')
        : paint('green', `${earliest} to ${latest}`),
    ],
    ...(limit === undefined ? [] : [['limited by', limitText(limit)] as const]),
    [
      'segments',
      `${countText(segments.count)}, with ${plural(segments.events, 'event')} in ${bytesText(segments.bytes)}`,
    ],
    ['timeline', `generation ${generation}, epoch ${epochs.at(-1)?.epoch ?? 0}${restoredText(status)}`],
    ['gaps', gaps.length === 0 ? 'none' : paint('red', plural(gaps.length, 'gap'))],
  ])
  for (const gap of gaps) {
    lines.push(
      `  events ${gap.firstSequence} to ${gap.lastSequence ?? '?'} of stream ${gap.stream}, between ${timeText(gap.afterUlid)} and ${timeText(gap.beforeUlid)}`,
    )
  }
  lines.push('', paint('bold', 'snapshots'), ...snapshotLines(status))
  lines.push('', paint('bold', 'streams'), ...streamLines(streams))
  lines.push('', paint('bold', 'next'), ...nextLines(status, store))
  return lines
}

function limitText({ id, host, pid }: StreamStatus): string {
  return `stream ${id}, open on ${host} (pid ${pid}); on that host a later moment is asked of it`
}

function restoredText({ epochs }: Status): string {
  const last = epochs.at(-1)
  return last === undefined || last.restored === null
    ? ''
    : `, begun ${timeText(last.startedAt)} by a restore of ${timeText(last.restored)}`
}

function snapshotLines({ snapshots }: Status): string[] {
  if (snapshots.length === 0) return ['  none: capture takes the first by itself']
  const rows = snapshots.map(({ ulid, time, records, bytes }) => [time, ulid, countText(records), bytesText(bytes)])
  return table(['consistent from', 'snapshot', 'records', 'size'], rows, '  ')
}

function streamLines(streams: readonly StreamStatus[]): string[] {
  if (streams.length === 0) return ['  none']
  const rows = streams.map(({ id, state, host, pid, lastSequence, sealedThroughTime, journal }) => [
    id,
    state,
    host,
    String(pid),
    countText(lastSequence),
    sealedThroughTime,
    journal.kind === 'disk' ? journal.path : journal.kind,
  ])
  return table(['stream', 'state', 'host', 'pid', 'events', 'in the store up to', 'journal'], rows, '  ')
}

function nextLines({ reachable, gaps }: Status, store: string): string[] {
  const { latest } = reachable
  const verify = `  tidemark verify${store}`
  if (latest === null) return ['  start the application with the plugin, and look again', verify]
  return [
    ...(gaps.length === 0 ? [] : [verify]),
    `  tidemark log <resource>/<id>${store}`,
    `  tidemark show <resource>/<id> --at ${latest}${store}`,
    `  tidemark restore --to ${latest} --target file:./recovered --dry-run${store}`,
  ]
}
