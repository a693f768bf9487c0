import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

/** Every command of a test is a process that loads the sources anew: what V8 made of them is kept, which halves its start. */
const COMPILED = join(import.meta.dirname, 'node_modules/.cache/compiled')

/** What takes minutes and says little that the rest does not has a command of its own: npm run slow. */
const isSlow = process.env.npm_lifecycle_event === 'slow'

export default defineConfig({
  test: {
    include: [isSlow ? 'test/**/*.slow.ts' : 'test/**/*.test.ts'],
    testTimeout: 240_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    // V8's baseline compiler leaves a stale pointer that a later collection follows: SIGSEGV (github.com/nodejs/node/issues/62393).
    execArgv: ['--no-sparkplug'],
    env: { NODE_COMPILE_CACHE: COMPILED },
    globalSetup: ['test/support/global-setup.ts'],
  },
})
