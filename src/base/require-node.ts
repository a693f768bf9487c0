import { nodeTooOld } from './node-version.ts'

// Imported first by what applications import.
const obstacle = nodeTooOld(process.versions.node)
if (obstacle !== null) throw new Error(obstacle)
