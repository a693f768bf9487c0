import { describe, test } from 'vitest'
import type { ContractCase } from '../../src/testing.ts'

/** Runs the cases of a contract as tests. */
export function contract(name: string, cases: readonly ContractCase[]): void {
  describe(name, () => {
    for (const { name: title, run } of cases) test(title, run)
  })
}

/** The names of the cases that fail. */
export async function failing(cases: readonly ContractCase[]): Promise<string[]> {
  const names: string[] = []
  for (const { name, run } of cases) await run().catch(() => names.push(name))
  return names
}
