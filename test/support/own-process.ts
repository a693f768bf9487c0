import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from './cli.ts'

/** What changes something that all of a process share, or replaces a module or a part of one; and the S3 server is started for the others. */
const CHANGES_ALL =
  /\bvi\.|\bprocess\.(chdir|umask|on|once)\b|\bprocess\.env(\.\w+|\[\w+\])? =[^=]|\bdelete process\.env|\b(prototype\.\w+|JSON\.\w+|globalThis\.\w+) = |tidemarkHere|support\/s3(db-on-s3)?\.ts'/

/**
 * The test files in `directories` that can run in one process, one after the other: it loads the sources once, which takes longer
 * than most of these files. Those that change what all of a process share are not among them.
 */
export async function sharingFiles(directories: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for await (const path of glob(`test/{${directories.join()}}/**/*.test.ts`, { cwd: ROOT })) {
    if (!CHANGES_ALL.test(readFileSync(join(ROOT, path), 'utf8'))) found.push(path)
  }
  return found.sort()
}
