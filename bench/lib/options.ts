/** The value of a flag of this process, as a whole number: `--events 1000`. */
export function numberFlag(name: string, fallback: number): number {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}

/** Whether this process was asked for sizes that finish in seconds and prove only that the bench works. */
export function isQuick(): boolean {
  return process.argv.includes('--quick')
}
