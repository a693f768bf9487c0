import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const MIB = 1024 * 1024

async function bufferBytes(how: string, file = 'old-buffers.ts'): Promise<number> {
  const script = join(import.meta.dirname, '../support', file)
  const { stdout } = await promisify(execFile)(process.execPath, [script, how])
  return Number(stdout)
}

test('the garbage of buffers of a command is collected before V8 would', async () => {
  const [held, free] = await Promise.all([bufferBytes('held'), bufferBytes('free')])
  expect(held).toBeLessThanOrEqual(60 * MIB)
  expect(free).toBeGreaterThan(60 * MIB)
})

test('what a merge has left of buffers is collected before the thread begins the next one', async () => {
  const [collected, free] = await Promise.all(['collected', 'free'].map((how) => bufferBytes(how, 'merge-leavings.ts')))
  expect(free).toBeGreaterThan(16 * MIB)
  expect(collected).toBeLessThan(8 * MIB)
})
