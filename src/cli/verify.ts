import { hasCode } from '../base/errors.ts'
import { verifyDamaged } from '../engine/repair.ts'
import { DEFAULT_MEMORY, type Tidemark } from '../engine/tidemark.ts'
import { parseHead } from '../model/head.ts'
import type { Listeners, Verification } from '../upkeep/verify.ts'
import { parseMemory } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, storeOf, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, countText, pairs, plural, printable } from './format.ts'
import { type Advance, progressLine } from './progress.ts'
import { type Paint, painter, type Terminal, writeLines } from './terminal.ts'

/** The options of `verify`, as commander reads them. */
export interface VerifyCommandOptions extends CommonOptions {
  readonly head?: string
}

/** `tidemark verify`: reads and checks every file. The exit code says whether damage was found. */
export async function verifyCommand(options: VerifyCommandOptions, around: Surroundings): Promise<number> {
  const { terminal } = around
  const found = await verifyStored(options, around)
  const paint = painter(terminal.out, terminal)
  await writeLines(terminal.out, options.json ? [JSON.stringify(found)] : linesOf(found, paint, storeArgument(options)))
  return found.damaged === 0 ? EXIT_CODES.ok[0] : EXIT_CODES.damaged[0]
}

/** The history of a timeline that can be read; of one that cannot, what repairing it would make of it. */
async function verifyStored(options: VerifyCommandOptions, around: Surroundings): Promise<Verification> {
  try {
    return await withStore(options, around, (tidemark) => verify(tidemark, options, around.terminal))
  } catch (error) {
    if (!hasCode(error, 'TIMELINE_CORRUPT')) throw error
    const memory = parseMemory(options.memory) ?? DEFAULT_MEMORY
    const noted = options.head === undefined ? null : parseHead(options.head)
    const listeners = { onFile: () => {}, ...findingsTo(options, around.terminal) }
    const how = { memory, noted, listeners }
    return verifyDamaged(await storeOf(options, around), how, around.terminal.environment)
  }
}

/** With `--json` everything that is found has a line, as it is found: the result names the first 1,000. */
function findingsTo({ json }: VerifyCommandOptions, { out }: Terminal): Pick<Listeners, 'onDamage' | 'onUnreferenced'> {
  const tell = async (finding: object): Promise<void> => {
    if (json === true) await writeLines(out, [JSON.stringify(finding)])
  }
  return { onDamage: (damage) => tell({ damage }), onUnreferenced: (unreferenced) => tell({ unreferenced }) }
}

async function verify(tidemark: Tidemark, options: VerifyCommandOptions, terminal: Terminal): Promise<Verification> {
  const { head } = options
  const line = progressLine(terminal, 'files')
  const { segments, snapshots } = await tidemark.status()
  try {
    const onFile = filesRead(segments.count + snapshots.length, line.show)
    const findings = findingsTo(options, terminal)
    return await tidemark.verify({ onFile, ...findings, ...(head === undefined ? {} : { head }) })
  } finally {
    line.stop()
  }
}

/**
 * Counts the files that are read: segments and the manifests of snapshots, whose number is known before. The many small ones
 * of the timeline would fill the bar before the first of them.
 */
export function filesRead(totalRows: number, show: (advance: Advance) => void): (key: string, bytes: number) => void {
  let rows = 0
  let bytes = 0
  return (key, size) => {
    if (key.startsWith('segment/') || /^snapshot\/.*\/s3db\.json$/.test(key)) rows++
    bytes += size
    show({ rows: Math.min(rows, totalRows), totalRows, bytes })
  }
}

function linesOf(found: Verification, paint: Paint, store: string): string[] {
  const { files, bytes, events, snapshots, damage, damaged, unnamed } = found
  const lines = pairs([
    ['read', `${plural(files, 'file')}, ${bytesText(bytes)}`],
    ['events', countText(events)],
    ['snapshots', countText(snapshots)],
    ['unreferenced', unnamed === 0 ? 'none' : `${plural(unnamed, 'file')}, left by attempts that failed; harmless`],
    ['damage', damaged === 0 ? paint('green', 'none') : paint('red', `${countText(damaged)} found`)],
  ])
  for (const { key, code, message } of damage) lines.push(`  ${printable(key)}  ${code}`, `    ${printable(message)}`)
  if (damaged > damage.length) lines.push(`  and ${countText(damaged - damage.length)} more: --json names all`)
  if (damaged > 0) {
    lines.push(
      'next: put the named files back from a copy of the store; where there is none, see how to go on without them:',
      `  tidemark repair${store}`,
    )
  }
  return lines
}
