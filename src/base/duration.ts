const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** A duration such as `90s`, `5m`, `1.5h` or `30d` in milliseconds; null for what is none. */
export function durationMs(text: string): number | null {
  const [, number = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = UNIT_MS.get(unit)
  return ms === undefined ? null : Number(number) * ms
}
