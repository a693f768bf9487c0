/** Names that are longer are not compared. */
const LONGEST = 100
const MOST = 3

/** The names that `name` was probably meant to be, nearest first: at most three, none where nothing is like it. */
export function nearestNames(name: string, names: Iterable<string>): readonly string[] {
  const wanted = folded(name)
  if (wanted.length > LONGEST) return []
  const most = Math.max(1, Math.floor(wanted.length / 3))
  const near: { readonly name: string; readonly distance: number }[] = []
  for (const candidate of names) {
    if (candidate === name || candidate.length > LONGEST) continue
    const distance = distanceOf(wanted, folded(candidate), most)
    if (distance > most) continue
    near.push({ name: candidate, distance })
    near.sort((a, b) => a.distance - b.distance)
    near.length = Math.min(near.length, MOST)
  }
  return near.map((one) => one.name)
}

/** What a hint says of them; empty where there is none. */
export function didYouMean(names: readonly string[]): string {
  return names.length === 0 ? '' : `Did you mean ${names.join(' or ')}? `
}

function folded(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

/** Letters that are added, missing, other ones, or swapped with their neighbour; anything above `most` where it is more. */
function distanceOf(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let above: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const other = at(row, j - 1) + (isSame ? 0 : 1)
      const changed = Math.min(at(row, j) + 1, at(next, j - 1) + 1, other)
      next.push(isSwapped ? Math.min(changed, at(above, j - 2) + 1) : changed)
    }
    above = row
    row = next
    if (Math.min(...row) > most) return most + 1
  }
  return at(row, b.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0
}
