/**
 * Completes package-lock.json after `npm install` has written it: node tools/fill-lock.ts
 *
 * npm leaves optional dependencies out of the lock file where the registry does not have them (builds for other
 * platforms, mostly), and `npm ci` then refuses the file as out of step. Entries with a version and a platform make
 * it whole; npm passes over them where the platform is another one or the package cannot be had.
 */
import { readFileSync, writeFileSync } from 'node:fs'

interface LockEntry {
  version?: string
  cpu?: string[]
  dev?: boolean
  libc?: string[]
  optional?: boolean
  os?: string[]
  optionalDependencies?: Record<string, string>
}

const FILE = 'package-lock.json'
const OS = /android|darwin|win32|linux|freebsd|openharmony/
const CPU = /arm64|x64|ia32|ppc64|riscv64|s390x|arm/

const lock: { packages: Record<string, LockEntry> } = JSON.parse(readFileSync(FILE, 'utf8'))
const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
  Object.entries(entry.optionalDependencies ?? {})
    .filter(
      ([name]) => !(`node_modules/${name}` in lock.packages) && !(`${path}/node_modules/${name}` in lock.packages),
    )
    .map(([name, range]): [string, LockEntry] => [`node_modules/${name}`, entryOf(name, range, entry.dev === true)]),
)
const entries = [...Object.entries(lock.packages), ...missing].sort(([a], [b]) => (a < b ? -1 : 1))
writeFileSync(FILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`)
console.log(`${missing.length} optional packages added to ${FILE}`)

function entryOf(name: string, range: string, dev: boolean): LockEntry {
  const os = OS.exec(name)?.[0]
  const cpu = CPU.exec(name)?.[0]
  const libc =
    os === undefined ? undefined : name.includes('musl') ? 'musl' : name.includes('-gnu') ? 'glibc' : undefined
  return {
    version: range.replace(/^[\^~]/, ''),
    ...(os === undefined || cpu === undefined ? {} : { cpu: [cpu] }),
    ...(dev ? { dev } : {}),
    ...(libc === undefined ? {} : { libc: [libc] }),
    optional: true,
    ...(os === undefined ? {} : { os: [os] }),
  }
}
