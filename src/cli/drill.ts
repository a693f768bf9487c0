import type { DrillProof } from '../format/drill-file.ts'
import { parseWhole } from './arguments.ts'
import { type CommonOptions, type Surroundings, withStore } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { bytesText, countText, durationText, plural, printable, timeText } from './format.ts'
import { progressLine } from './progress.ts'
import { type Paint, painter, writeLines } from './terminal.ts'

/** The options of `tidemark drill`. */
export interface DrillCommandOptions extends CommonOptions {
  readonly at: string
  readonly count?: string
  readonly seed?: string
}

/** `tidemark drill`: restores for real into scratch space and proves it. The exit code says whether a drill failed. */
export async function drillCommand(options: DrillCommandOptions, around: Surroundings): Promise<number> {
  const { terminal } = around
  const paint = painter(terminal.out, terminal)
  const count = parseWhole('--count', options.count)
  const seed = parseWhole('--seed', options.seed)
  const proofs = await withStore(options, around, async (tidemark) => {
    const line = progressLine(terminal, 'rows')
    try {
      return await tidemark.drill({
        at: options.at,
        ...(count === undefined ? {} : { count }),
        ...(seed === undefined ? {} : { seed }),
        onProgress: (progress) => line.show(progress),
      })
    } finally {
      line.stop()
    }
  })
  await writeLines(
    terminal.out,
    proofs.flatMap((proof) => (options.json ? [JSON.stringify(proof)] : proofLines(proof, paint))),
  )
  return proofs.every(({ passed }) => passed) ? EXIT_CODES.ok[0] : EXIT_CODES.damaged[0]
}

function proofLines(proof: DrillProof, paint: Paint): string[] {
  const { passed, moment, plan, restoreMs, compareMs, resources, differences, differing, failure, except } = proof
  const items = resources.reduce((sum, resource) => sum + resource.items, 0)
  const lines = [
    `${passed ? paint('green', 'passed') : paint('red', 'FAILED')}  ${timeText(moment)}  ${plural(items, 'item')} of ${plural(resources.length, 'resource')}, ` +
      `restored in ${durationText(restoreMs)} from ${bytesText(plan.bytes)}, compared in ${durationText(compareMs)}`,
  ]
  if (except.length > 0) lines.push(`  without the events of ${plural(except.length, 'acknowledged gap')}`)
  if (plan.reckonedFrom === plan.snapshot)
    lines.push('  reckoned from the snapshot that was restored: there is no other yet (tidemark snapshot makes one)')
  if (failure !== null) lines.push(`  ${failure.code}: ${printable(failure.message)}`)
  for (const { kind, resource, id, what } of differences) {
    lines.push(`  ${kind} ${printable(resource)}/${printable(id ?? '?')}: ${what}`)
  }
  if (differing > differences.length) lines.push(`  and ${countText(differing - differences.length)} more`)
  return passed ? lines : [...lines, 'next: tidemark verify names damaged files; keep the store as it is']
}
