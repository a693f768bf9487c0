import { readFileSync } from 'node:fs'

/** What a line of /proc/self/status says, in megabytes; 0 where the system has none. */
export function statusMb(name: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) / 1024
}
