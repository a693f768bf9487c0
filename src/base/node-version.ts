/** The `engines` of package.json. */
const OLDEST: readonly [major: number, minor: number] = [24, 5]

/** Why this version of Node cannot run Tidemark, and what to do, in one sentence; null where it can. */
export function nodeTooOld(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return null
  return `Tidemark needs Node ${OLDEST.join('.')} or later, and this is ${version}: install it (https://nodejs.org), nothing was read or written.`
}
