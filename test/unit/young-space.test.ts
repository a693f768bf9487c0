import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const MIB = 1024 * 1024

async function youngBytes(how: string): Promise<number> {
  const script = join(import.meta.dirname, '../support/young-objects.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [script, how])
  return Number(stdout)
}

test('the space of young objects of a command grows to what is enough, and not to what V8 would take', async () => {
  const [held, free] = await Promise.all([youngBytes('held'), youngBytes('free')])
  expect(held).toBeLessThanOrEqual(48 * MIB)
  expect(free).toBeGreaterThan(48 * MIB)
})
