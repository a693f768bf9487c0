#!/usr/bin/env node
import { nodeTooOld } from './base/node-version.ts'

// Nothing else is imported by name: where Node is too old, what the rest imports does not exist, and nobody would be told why.
const obstacle = nodeTooOld(process.versions.node)
if (obstacle === null) await import('./main.ts')
else {
  process.stderr.write(`${obstacle}\n`)
  process.exitCode = 1
}
