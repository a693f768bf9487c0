import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { sharingFiles } from './test/support/own-process.ts'
import { SlowFirst } from './test/support/slow-first.ts'

/** Every command of a test is a process that loads the sources anew: what V8 made of them is kept, which halves its start. */
const COMPILED = join(import.meta.dirname, 'node_modules/.cache/compiled')

/** What takes minutes and says little that the rest does not has a command of its own: npm run slow. */
const isSlow = process.env.npm_lifecycle_event === 'slow'

const sharing = isSlow ? [] : await sharingFiles(['unit', 'property', 'campaign'])

export default defineConfig({
  test: {
    testTimeout: 240_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // One more than processors, of which a small machine has two: many files wait for processes, servers and timeouts.
    maxWorkers: 3,
    sequence: { sequencer: SlowFirst },
    // V8's baseline compiler leaves a stale pointer that a later collection follows: SIGSEGV (github.com/nodejs/node/issues/62393).
    execArgv: ['--no-sparkplug'],
    env: { NODE_COMPILE_CACHE: COMPILED },
    globalSetup: ['test/support/global-setup.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'own', include: [isSlow ? 'test/**/*.slow.ts' : 'test/**/*.test.ts'], exclude: sharing },
      },
      ...(isSlow ? [] : [{ extends: true as const, test: { name: 'sharing', include: sharing, isolate: false } }]),
    ],
  },
})
