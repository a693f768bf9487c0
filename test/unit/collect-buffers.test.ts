import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const MIB = 1024 * 1024

async function bytesOf(how: string, file: string, flags: readonly string[] = []): Promise<number> {
  const script = join(import.meta.dirname, '../support', file)
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, script, how])
  return Number(stdout)
}

test('the garbage of buffers of a command is collected before V8 would', async () => {
  const [held, free] = await Promise.all(['held', 'free'].map((how) => bytesOf(how, 'old-buffers.ts')))
  expect(held).toBeLessThanOrEqual(60 * MIB)
  expect(free).toBeGreaterThan(60 * MIB)
})

test('what a merge has left of buffers is collected before the thread begins the next one', async () => {
  const [collected, free] = await Promise.all(['collected', 'free'].map((how) => bytesOf(how, 'merge-leavings.ts')))
  expect(free).toBeGreaterThan(20 * MIB)
  // A thread keeps up to 8 MiB for what it compresses next, and less than 12 are not worth a collection.
  expect(collected).toBeLessThan(14 * MIB)
})

test('the garbage of objects of a thread with a budget is collected before V8 would', async () => {
  // As the merging thread has it, about.
  const flags = ['--max-semi-space-size=2']
  const [held, free] = await Promise.all(['held', 'free'].map((how) => bytesOf(how, 'old-objects.ts', flags)))
  expect(held).toBeLessThan(48 * MIB)
  expect(free).toBeGreaterThan(64 * MIB)
})
