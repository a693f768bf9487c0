import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { GrowthRow } from './cost.ts'

/**
 * Rows as a drawing (SVG): each measure as a multiple of what it is at the smallest size, both axes logarithmic. What does not
 * grow is a level line, what grows with the size a diagonal; a curve that bends upwards is a defect.
 */
export function growthSvg(title: string, unit: string, rows: readonly GrowthRow[]): string {
  const { document } = parseHTML('<html><body></body></html>')
  const measures = Object.keys(rows[0] ?? {}).filter((name) => name !== 'size')
  const points = measures.flatMap((measure) => {
    const first = rows[0]?.[measure] ?? 0
    return rows.map((row) => ({ size: row.size, times: (row[measure] ?? 0) / first, measure }))
  })
  const figure = Plot.plot({
    document,
    width: 860,
    height: 420,
    marginRight: 190,
    title,
    x: { type: 'log', label: unit },
    y: { type: 'log', label: 'times what it is at the smallest size', grid: true },
    marks: [
      Plot.ruleY([1]),
      Plot.line(points, { x: 'size', y: 'times', stroke: 'measure', marker: 'dot' }),
      Plot.text(
        points,
        Plot.selectLast({ x: 'size', y: 'times', z: 'measure', text: 'measure', textAnchor: 'start', dx: 6 }),
      ),
    ],
  })
  const svg = figure.tagName.toLowerCase() === 'svg' ? figure : figure.querySelector('svg')
  if (svg === null) throw new Error('nothing was drawn')
  const caption = document.createElementNS('http://www.w3.org/2000/svg', 'title')
  caption.textContent = title
  svg.prepend(caption)
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return `${svg.outerHTML}\n`
}
