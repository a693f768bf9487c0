/** One thing that an implementation of a seam must do. Any test runner takes it: `test(name, run)`. */
export interface ContractCase {
  readonly name: string
  /** Rejects with an `AssertionError` of node:assert where the implementation does otherwise. */
  run(): Promise<void>
}

/** Checks by name. */
export type Checks<T> = Readonly<Record<string, (subject: T) => Promise<void>>>

/** Each check as a case of its own; `around` makes what it checks, and disposes of it. */
export function casesOf<T>(
  checks: Checks<T>,
  around: (run: (subject: T) => Promise<void>) => Promise<void>,
): readonly ContractCase[] {
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => around(check) }))
}
