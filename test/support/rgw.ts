import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const PACKAGES = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common']
const STARTS = 3
const READY_MS = 90_000

/** How tests reach the server. */
export interface S3Server {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of a user that owns nothing and may do what policies allow it. */
  readonly limited: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** The name of the limited user in a policy. */
export const LIMITED_USER = 'arn:aws:iam:::user/limited'

/** A server that runs until `stop`, or until this process ends, however it ends. */
export interface RunningS3Server {
  readonly server: S3Server
  /** What it does from now on; resolves when it does so. What is stored stays. */
  become(state: ServerState): Promise<void>
  stop(): Promise<void>
}

/**
 * `down`: its port is closed and what was under way is cut off, as after `kill -9`. `frozen`: it takes connections and
 * requests and answers none (SIGSTOP); what it was sent then takes effect when it is `up` again.
 */
export type ServerState = 'up' | 'down' | 'frozen'

export function isInstalled(): boolean {
  return ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-authtool'].every((program) => existsSync(`/usr/bin/${program}`))
}

/** Whether `install` can work: Debian or a child of it, and root. */
export function canInstall(): boolean {
  return existsSync('/usr/bin/apt-get') && process.getuid?.() === 0
}

/** Installs Ceph's packages: 61 MB to load, about half a minute. */
export async function install(): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = { env, maxBuffer: 1 << 26 }
  await run('apt-get', ['update'], options)
  await run('apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], options)
}

/**
 * Starts Ceph's RADOS Gateway on loopback: one monitor, one storage daemon that keeps everything in memory, one
 * gateway. About 13 seconds. Ports are free ones that the system chose; another process can take one before the
 * daemon does, so a start that fails is made again with others.
 */
export async function startRgw(): Promise<RunningS3Server> {
  for (let start = 1; ; start++) {
    try {
      return await startOnce()
    } catch (error) {
      if (start === STARTS) throw error
    }
  }
}

async function startOnce(): Promise<RunningS3Server> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-rgw-'))
  const daemons: ChildProcess[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(daemons.reverse().map(end))
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const ports = await freePorts()
    const conf = await configure(directory, ports)
    daemons.push(daemon('ceph-mon', ['-c', conf, '-i', 'a', '-f']))
    const osdId = randomUUID()
    await run('ceph', ['-c', conf, '--connect-timeout', '30', 'osd', 'new', osdId])
    await run('ceph', ['-c', conf, 'osd', 'crush', 'add', 'osd.0', '1', 'root=default'])
    await run('ceph-osd', ['-c', conf, '-i', '0', '--mkfs', '--osd-uuid', osdId])
    daemons.push(daemon('ceph-osd', ['-c', conf, '-i', '0', '-f']))
    const gateway = (): ChildProcess => daemon('radosgw', ['-c', conf, '-n', 'client.rgw', '-f'])
    daemons.push(gateway())
    const endpoint = `http://127.0.0.1:${ports.http}`
    const limited = { accessKeyId: 'LIMITEDKEY', secretAccessKey: randomUUID() }
    const server = { endpoint, accessKeyId: 'TESTKEY', secretAccessKey: randomUUID(), limited }
    await answering(server.endpoint, daemons)
    await makeUser(conf, 'test', server)
    await makeUser(conf, 'limited', limited)
    const become = async (state: ServerState): Promise<void> => {
      // The objects are in the storage daemon, which goes on; the gateway is the last of the daemons.
      if (state === 'frozen') return freeze(daemons.at(-1))
      if (state === 'down') return end(daemons.at(-1))
      daemons.at(-1)?.kill('SIGCONT')
      if (hasEnded(daemons.at(-1))) daemons.splice(-1, 1, gateway())
      await answering(server.endpoint, daemons)
    }
    return { server, become, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Ports {
  readonly msgr2: number
  readonly msgr1: number
  readonly http: number
}

/** Writes configuration, keys and the monitor's first map; returns the configuration's path. */
async function configure(directory: string, ports: Ports): Promise<string> {
  for (const name of ['mon', 'osd0', 'rgw', 'log']) await mkdir(join(directory, name))
  const conf = join(directory, 'ceph.conf')
  const keyring = join(directory, 'keyring')
  const map = join(directory, 'monmap')
  const fsid = randomUUID()
  const monitor = `[v2:127.0.0.1:${ports.msgr2},v1:127.0.0.1:${ports.msgr1}]`
  await writeFile(conf, configuration(directory, fsid, monitor, ports.http))
  const all = (...daemons: string[]): string[] => daemons.flatMap((name) => ['--cap', name, 'allow *'])
  await run('ceph-authtool', ['-C', keyring, '--gen-key', '-n', 'mon.', ...all('mon')])
  await run('ceph-authtool', [keyring, '--gen-key', '-n', 'client.admin', ...all('mon', 'osd', 'mgr')])
  await run('ceph-authtool', [keyring, '--gen-key', '-n', 'client.rgw', ...all('mon', 'osd')])
  await run('ceph-authtool', [keyring, '--gen-key', '-n', 'osd.0', ...all('mon', 'osd')])
  await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', monitor, map])
  await run('ceph-mon', ['-c', conf, '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring])
  return conf
}

function configuration(directory: string, fsid: string, monitor: string, port: number): string {
  return `[global]
fsid = ${fsid}
mon host = ${monitor}
keyring = ${directory}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
log file = ${directory}/log/$name.log
log to stderr = false
admin socket = ${directory}/$name.asok
osd objectstore = memstore
memstore device bytes = 8589934592
mon data avail crit = 1
mon data avail warn = 2
[mon.a]
mon data = ${directory}/mon
[osd.0]
osd data = ${directory}/osd0
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw data = ${directory}/rgw
rgw crypt require ssl = false
`
}

/** Starts a daemon that the kernel ends together with this process, also when that is killed. */
function daemon(program: string, args: readonly string[]): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { stdio: 'ignore' })
}

function hasEnded(child: ChildProcess | undefined): boolean {
  return child === undefined || child.exitCode !== null || child.signalCode !== null
}

function freeze(child: ChildProcess | undefined): void {
  if (child === undefined || hasEnded(child)) throw new Error('a server that is down cannot be frozen')
  child.kill('SIGSTOP')
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || hasEnded(child)) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

async function answering(endpoint: string, daemons: readonly ChildProcess[]): Promise<void> {
  for (let waited = 0; waited < READY_MS; waited += 100) {
    if (daemons.some(hasEnded)) throw new Error('a daemon of the S3 server has ended')
    const answer = await fetch(endpoint).catch(() => null)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await sleep(100)
  }
  throw new Error(`the S3 server did not answer within ${READY_MS / 1000} seconds`)
}

async function makeUser(conf: string, uid: string, keys: S3Server['limited']): Promise<void> {
  const as = ['-c', conf, '-n', 'client.rgw']
  const user = [`--uid=${uid}`, '--display-name', uid]
  const secrets = ['--access-key', keys.accessKeyId, '--secret-key', keys.secretAccessKey]
  await run('radosgw-admin', [...as, 'user', 'create', ...user, ...secrets])
}

/** Three ports that were free: all are held before the first is let go, so that they differ. */
async function freePorts(): Promise<Ports> {
  const [msgr2, msgr1, http] = await Promise.all([listening(), listening(), listening()])
  await Promise.all([msgr2, msgr1, http].map(({ close }) => close()))
  return { msgr2: msgr2.port, msgr1: msgr1.port, http: http.port }
}

function listening(): Promise<{ port: number; close(): Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (address === null || typeof address === 'string') return reject(new Error('no port'))
      resolve({ port: address.port, close: () => new Promise((done) => server.close(() => done())) })
    })
  })
}
