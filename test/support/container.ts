import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

/** As `schemas/DEPLOYING.md` has it: no entry in the list of users. */
const USER = 10_001

/** A root that cannot be written to, and a user without a name. */
const IS_CONTAINED = 'grep -q " / ro[, ]" /proc/self/mountinfo && ! id -un'

/** How a command is run as in a container, and what it finds in its environment. */
export interface Container {
  /** To be put in front of the command. */
  readonly around: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/**
 * What a container gives, without an engine: a root that is read-only, two volumes, a user without a name, an empty home.
 * `volume` belongs to the user then, and everything in it; a second one is made in it for what is temporary. Null where this
 * machine does not let its user do that.
 */
export function containerOn(volume: string): Container | null {
  const temporary = join(volume, '.tmp')
  const home = join(temporary, 'home')
  const inside = `mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$1" && shift &&
    exec setpriv --reuid ${USER} --regid ${USER} --clear-groups "$@"`
  const around = ['unshare', '--mount', '--propagation', 'private', 'sh', '-euc', inside, 'sh', volume]
  const [program = '', ...args] = [...around, 'sh', '-c', IS_CONTAINED]
  if (spawnSync(program, args, { stdio: 'ignore' }).status !== 0) return null
  mkdirSync(home, { recursive: true })
  execFileSync('chown', ['-R', `${USER}:${USER}`, volume])
  // npm gives what it runs the place of its own cache, which is not to be written to here.
  return { around, env: { HOME: home, TMPDIR: temporary, npm_config_cache: join(home, '.npm') } }
}
