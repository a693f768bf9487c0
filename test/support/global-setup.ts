import { readFile } from 'node:fs/promises'
import type { TestProject } from 'vitest/node'
import { messageOf } from '../../src/base/errors.ts'
import { bundledCli } from './bundled.ts'
import { canInstall, install, isInstalled, type S3Server, startRgw } from './rgw.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The S3 server of the run; null where none could be had, or no test of the run asks for one. */
    s3Server: S3Server | null
  }
}

/**
 * Bundles the command line and starts the S3 server, each where a test file of this run imports it. It is installed where that is possible (Debian, root).
 * Without it such tests are left out and the last lines of the output say so; under CI the run fails.
 */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  project.provide('s3Server', null)
  // Once, where several projects of the run want it.
  if (process.env.TIDEMARK_TEST_BIN === undefined && (await isWanted(project, /support\/cli\.ts'/)))
    process.env.TIDEMARK_TEST_BIN = await bundledCli()
  if (!(await isWanted(project, /support\/s3(db-on-s3)?\.ts'/))) return undefined
  try {
    if (!isInstalled() && canInstall()) {
      process.stderr.write("Installing Ceph's RADOS Gateway for the S3 tests (apt-get, about a minute)\n")
      await install()
    }
    if (!isInstalled()) throw new Error("Ceph's RADOS Gateway is not installed")
    const { server, stop } = await startRgw()
    project.provide('s3Server', server)
    return stop
  } catch (error) {
    if (process.env.CI) throw error
    return async () => leftOut(messageOf(error))
  }
}

/** Whether one of the test files to be run imports what `pattern` is of. */
async function isWanted(project: TestProject, pattern: RegExp): Promise<boolean> {
  const { testFiles } = await project.globTestFiles(filtersOf(project.vitest))
  const texts = await Promise.all(testFiles.map((file) => readFile(file, 'utf8')))
  return texts.some((text) => pattern.test(text))
}

/** The file names given on the command line. They are no public property: where they cannot be seen, all files count. */
function filtersOf(vitest: object): string[] {
  if (!('filenamePattern' in vitest) || !Array.isArray(vitest.filenamePattern)) return []
  return vitest.filenamePattern.filter((name) => typeof name === 'string')
}

function leftOut(reason: string): void {
  process.stderr.write(`
 The tests that need an S3 server were LEFT OUT: ${reason}.
 To run them, on Debian or Ubuntu as root: apt-get install -y --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
 and then: npm test
`)
}
