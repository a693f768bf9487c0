import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { bundledCli } from '../../test/support/bundled.ts'

/** Said at the end, after the output of the command. What `getrusage` says would count the process that it was forked from. */
const SAY_PEAK = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync } from 'node:fs'
  process.on('exit', () => console.error(/VmHWM:.*/.exec(readFileSync('/proc/self/status', 'utf8'))[0]))`)}`

/** Runs a command line as it is packed, in a process of its own; the most memory that was resident, MiB. Fails where the command does. */
export async function peakMbOfCommand(args: readonly string[]): Promise<number> {
  const node = ['--import', SAY_PEAK, await bundledCli(), ...args]
  const { stderr } = await promisify(execFile)(process.execPath, node)
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(stderr) ?? []
  if (kib === undefined) throw new Error(`no peak was said: ${stderr}`)
  return Number(kib) / 1024
}
