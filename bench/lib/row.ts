/** One line of the table that `npm run bench` prints. */
export interface BenchRow {
  readonly name: string
  readonly ours: number
  /** The same work done the other way, in the same run; null where there is no peer. */
  readonly peer: number | null
  readonly unit: string
  /** `ours` over `peer`, or over what `note` says; larger is better unless `target` says otherwise. */
  readonly ratio: number | null
  /** What must hold, as text: `>= 2.5x`. */
  readonly target: string
  readonly note: string
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** Prints rows as an aligned table on stdout. */
export function printRows(rows: readonly BenchRow[]): void {
  const cells = [
    ['what', 'ours', 'peer', 'unit', 'ratio', 'target', 'note'],
    ...rows.map((row) => [row.name, show(row.ours), show(row.peer), row.unit, show(row.ratio), row.target, row.note]),
  ]
  const widths = cells[0]?.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0))) ?? []
  for (const line of cells)
    console.log(
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

function show(value: number | null): string {
  if (value === null) return '-'
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
