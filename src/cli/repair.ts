import { type RepairReport, repairStore } from '../engine/repair.ts'
import { isPause } from '../model/hold.ts'
import type { Damage } from '../upkeep/verify/inspection.ts'
import { type CommonOptions, type Surroundings, storeArgument, storeOf } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { countText, pairs, plural, printable } from './format.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark repair`. */
export interface RepairCommandOptions extends CommonOptions {
  readonly apply?: boolean
}

/** `tidemark repair [--apply]`: makes a damaged catalogue again from the files of the store, or shows how. */
export async function repairCommand(options: RepairCommandOptions, around: Surroundings): Promise<number> {
  const { terminal } = around
  const apply = options.apply === true
  // With --json each file that is taken out has a line, as it is found: the result names the first 1,000.
  const onTakenOut = (takenOut: Damage): Promise<void> =>
    writeLines(terminal.out, options.json === true ? [JSON.stringify({ takenOut })] : [])
  const found = await repairStore(await storeOf(options, around), { apply, onTakenOut }, terminal.environment)
  await writeLines(terminal.out, options.json ? [JSON.stringify(found)] : linesOf(found, storeArgument(options)))
  return found.isNeeded && !apply ? EXIT_CODES.damaged[0] : EXIT_CODES.ok[0]
}

function linesOf(found: RepairReport, store: string): string[] {
  const { isNeeded, damaged, lost, entered, takenOut, taken, remade, streams, reachable, generation } = found
  if (!isNeeded) return ['Nothing has to be repaired: the timeline can be read, and every file that it names is whole.']
  const snapshots = entered.filter((key) => key.endsWith('/')).length
  const ranges = lost.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`)).join(', ')
  const lines = pairs([
    [
      'damaged',
      damaged.length === 0 ? 'no file of the timeline that is needed' : `${damaged.join(', ')}; stays as it is`,
    ],
    ['lost', ranges === '' ? 'no generation' : `what was committed as generation ${ranges}`],
    [
      'entered',
      entered.length === 0
        ? 'nothing'
        : `${plural(entered.length - snapshots, 'segment')} and ${plural(snapshots, 'snapshot')}`,
    ],
    ['taken out', taken === 0 ? 'nothing' : `${plural(taken, 'file')}, damaged or missing; nothing is deleted`],
    ['made again', remade.length === 0 ? 'nothing' : `the index of ${plural(remade.length, 'run')}, from its files`],
    ['reachable', reachable === null ? 'nothing yet' : `${reachable.earliest} to ${reachable.latest}, but for gaps`],
  ])
  for (const key of entered) lines.push(`  + ${printable(key)}`)
  for (const { key, message } of takenOut) lines.push(`  - ${printable(key)}`, `    ${printable(message)}`)
  for (const { key, message } of remade) lines.push(`  ~ ${printable(key)}`, `    ${printable(message)}`)
  if (taken > takenOut.length) lines.push(`  - and ${countText(taken - takenOut.length)} more: --json names all`)
  if (lost.length > 0)
    lines.push('What else was noted there is lost: closed streams, acknowledged gaps, restores, erasures.')
  return [...lines, ...promiseLines(found, store), ...nextLines(streams, store, generation)]
}

/** What of marks and holds is known, and how retention goes on. */
function promiseLines({ recalled: { marks, holds }, paused }: RepairReport, store: string): string[] {
  if (paused === null) return []
  const kept = [
    ...marks.map(({ name }) => `  tidemark mark remove ${printable(name)}${store}`),
    ...holds
      .filter((hold) => !isPause(hold))
      .map(({ id, reason }) => `  tidemark hold remove ${id}${store}   # ${printable(reason)}`),
  ]
  return [
    ...(kept.length === 0
      ? []
      : ['Older files say these marks and holds, which are kept; if one was removed since, remove it again:', ...kept]),
    'Marks and holds that were made last may be lost. So retention is paused, and nothing is pruned. To go on, see that all are there:',
    `  tidemark mark list${store}; tidemark hold list${store}`,
    `and then: tidemark hold remove ${paused.id}${store}`,
  ]
}

function nextLines(streams: readonly string[], store: string, generation: number | null): string[] {
  if (generation === null) return ['Nothing was changed. next:', `  tidemark repair${store} --apply`]
  const ends = streams.map((id) => `  tidemark stream end ${id}${store} --reason <why> --name <who>`)
  const open = ['Nobody knows whether these streams hold more: start their applications again, or', ...ends]
  return [
    `Committed as generation ${generation}.`,
    ...(ends.length === 0 ? [] : open),
    `next: tidemark verify${store}; tidemark status${store}`,
  ]
}
