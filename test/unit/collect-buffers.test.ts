import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const MIB = 1024 * 1024

async function bufferBytes(how: string): Promise<number> {
  const script = join(import.meta.dirname, '../support/old-buffers.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [script, how])
  return Number(stdout)
}

test('the garbage of buffers of a command is collected before V8 would', async () => {
  const [held, free] = await Promise.all([bufferBytes('held'), bufferBytes('free')])
  expect(held).toBeLessThanOrEqual(60 * MIB)
  expect(free).toBeGreaterThan(60 * MIB)
})
