import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { S3db } from 's3db.js/lite'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { S3Store } from '../../src/store/s3.ts'
import { jsonLines, type Run, tidemark } from '../support/cli.ts'
import { random } from '../support/random.ts'
import { type RunningS3Server, startRgw } from '../support/rgw.ts'
import { makeBucket } from '../support/s3-bucket.ts'
import { accountFor, type Kept } from '../support/soak-account.ts'
import type { SoakWriterParts } from '../support/soak-writer.ts'
import { Tally } from './campaign.ts'
import { SoakRestores } from './soak-restores.ts'

/** How long, and with which luck. */
export interface SoakOptions {
  readonly minutes: number
  readonly seed: number
  /** Called with what happens, for people. */
  readonly onNote?: (note: string) => void
}

const WRITER = fileURLToPath(new URL('../support/soak-writer.ts', import.meta.url))
const NAMES = ['anna', 'bert']
const PASSPHRASE = 'the tide leaves a mark on every pile'
/** Whether processes can be started in pid namespaces of their own here. */
const HAS_NAMESPACES =
  spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true'], { stdio: 'ignore' }).status === 0
/** Everything that was begun is over by then, on a slow machine. */
const PATIENCE_MS = 240_000
/** From the stamp of a write to its acknowledgement, at most. */
const ACK_MS = 15_000

/**
 * Two processes write to one database and into one encrypted store in S3, and make snapshots by themselves. One of them is
 * killed every few seconds and started again, the S3 server goes away or freezes now and then, and snapshots, drills and
 * verifications are made meanwhile by the command line; a third changes other records of it, which are restored in place by
 * restores that are killed too. In the end every acknowledged write must be accounted for. Throws where anything is not
 * as it should be; the directory with everything is kept then, and a copy of the store.
 */
export async function soak(options: SoakOptions): Promise<{ tally: Tally }> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-soak-'))
  const server = await startRgw()
  const run = new Soak(directory, server, options)
  try {
    await run.run()
  } catch (cause) {
    run.abandon()
    await run.keep()
    throw new Error(`${cause instanceof Error ? cause.message : cause}\nwhat it left is in ${directory}`, { cause })
  } finally {
    run.abandon()
    await server.stop()
  }
  rmSync(directory, { recursive: true, force: true })
  return { tally: run.tally }
}

interface Writer {
  readonly name: string
  life: number
  child: ChildProcess | null
}

class Soak {
  readonly tally: Tally = new Tally()
  readonly #directory: string
  readonly #server: RunningS3Server
  readonly #options: SoakOptions
  readonly #until: number
  readonly #writers: readonly Writer[] = NAMES.map((name) => ({ name, life: 0, child: null }))
  readonly #heads: string[] = []
  readonly #env: Record<string, string>
  /** When the server was last not up; while it is not, now. */
  #lastOutage = Number.NEGATIVE_INFINITY
  #isUp = true
  /** What was acknowledged later has to be in the history: retention has promised it. */
  #keptFrom = 0

  constructor(directory: string, server: RunningS3Server, options: SoakOptions) {
    this.#directory = directory
    this.#server = server
    this.#options = options
    this.#until = performance.now() + options.minutes * 60_000
    const { endpoint, accessKeyId, secretAccessKey } = server.server
    this.#env = {
      TIDEMARK_STORE: `s3://soak/store?endpoint=${encodeURIComponent(endpoint)}`,
      TIDEMARK_PASSPHRASE: PASSPHRASE,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    }
  }

  async run(): Promise<void> {
    await makeBucket(this.#server.server, 'soak')
    for (const writer of this.#writers) await this.#start(writer)
    // Each has luck of its own, so that what one does depends as little as possible on how long another takes.
    const luck = (part: number): (() => number) => random(this.#options.seed * 10 + part)
    await Promise.all([this.#kill(luck(1)), this.#weather(luck(2)), this.#upkeep(luck(3)), this.#restores(luck(4))])
    for (const writer of this.#writers) await this.#stop(writer)
    await this.#account()
  }

  /** Copies the store, as it is, to where everything else is: it goes with the server. */
  async keep(): Promise<void> {
    const { endpoint, accessKeyId, secretAccessKey } = this.#server.server
    const credentials = { accessKeyId, secretAccessKey }
    const store = new S3Store({ bucket: 'soak', prefix: 'store', endpoint, credentials })
    const copy = new FilesystemStore(this.#path('store'))
    try {
      await this.#server.become('up')
      for await (const { key } of store.list('')) await copy.put(key, await store.get(key))
    } catch (error) {
      this.#note(`the store could not be kept: ${String(error)}`)
    }
  }

  /** Ends what is left of the processes. */
  abandon(): void {
    for (const { child } of this.#writers) child?.kill('SIGKILL')
  }

  #note(text: string): void {
    this.#options.onNote?.(`${Math.round((this.#until - performance.now()) / 1000)} s left: ${text}`)
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  /** Starts a writer: whether the store is there or not, once it was. */
  async #start(writer: Writer): Promise<void> {
    const wasUp = this.#isUp
    const { child, ready } = this.#spawn(writer)
    writer.child = child
    if (!(await ready)) throw new Error(`${writer.name} does not start: ${this.#errors(writer)}`)
    if (!wasUp && !this.#isUp) this.tally.add('starts without the store')
  }

  #spawn(writer: Writer): { child: ChildProcess; ready: Promise<boolean> } {
    const { name } = writer
    const parts: SoakWriterParts = {
      database: this.#database,
      store: this.#env.TIDEMARK_STORE ?? '',
      // One directory for both, as containers have it that share a volume.
      journal: this.#path('journal'),
      acknowledged: this.#path(`${name}.acknowledged`),
      log: this.#path(`${name}.log`),
      name,
      life: ++writer.life,
    }
    const err = openSync(this.#path(`${name}.err`), 'w')
    const [program = process.execPath, ...args] = [
      ...this.#around(writer),
      process.execPath,
      WRITER,
      JSON.stringify(parts),
    ]
    const child = spawn(program, args, {
      env: { ...process.env, ...this.#env },
      stdio: ['pipe', 'pipe', err],
    })
    closeSync(err)
    const ready = new Promise<boolean>((resolve) => {
      child.stdout?.on('data', (part) => String(part).includes('ready') && resolve(true))
      child.on('exit', () => resolve(false))
    })
    return { child, ready }
  }

  /** The second process runs as the first of a pid namespace of its own, as in a container, where this machine allows it. */
  #around({ name }: Writer): readonly string[] {
    if (name !== NAMES[1] || !HAS_NAMESPACES) return []
    return ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']
  }

  async #kill(next: () => number): Promise<void> {
    while (performance.now() < this.#until) {
      await sleep(1000 + next() * 5000)
      const writer = this.#writers[Math.floor(next() * this.#writers.length)]
      if (writer?.child == null) continue
      const { exitCode } = writer.child
      if (exitCode !== null) throw new Error(`${writer.name} ended by itself with ${exitCode}: ${this.#errors(writer)}`)
      if (next() < 0.3) await this.#terminate(writer)
      else {
        await killed(writer.child)
        this.tally.add('kills')
      }
      await this.#start(writer)
    }
  }

  /** A deploy: the process is asked to end, seals what it has, and ends. */
  async #terminate(writer: Writer): Promise<void> {
    const { name, child } = writer
    if (child?.pid === undefined) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    process.kill(innermost(child.pid), 'SIGTERM')
    const code = await Promise.race([ended, sleep(PATIENCE_MS, 'not yet')])
    if (code === 'not yet') throw new Error(`${name} does not end: ${this.#errors(writer)}`)
    this.tally.add(`SIGTERM`)
  }

  #errors({ name }: Writer): string {
    return readFileSync(this.#path(`${name}.err`), 'utf8').slice(-2000)
  }

  async #weather(next: () => number): Promise<void> {
    for (;;) {
      await sleep(Math.min(10_000 + next() * 40_000, Math.max(0, this.#until - performance.now())))
      if (performance.now() >= this.#until) return
      const state = next() < 0.5 ? 'down' : 'frozen'
      const ms = 2000 + next() * 20_000
      this.#note(`the S3 server is ${state} for ${Math.round(ms / 1000)} s`)
      this.#isUp = false
      await this.#server.become(state)
      await sleep(ms)
      await this.#server.become('up')
      this.#isUp = true
      this.#lastOutage = performance.now()
      this.tally.add(`S3 server ${state}`)
    }
  }

  /** At least one, however short the soak is. */
  async #restores(next: () => number): Promise<void> {
    const { tally } = this
    const [database, store, journal] = [this.#database, this.#env.TIDEMARK_STORE ?? '', this.#path('journal')]
    const places = { database, store, journal, log: this.#path('places.log') }
    const command = this.#command.bind(this)
    const restores = new SoakRestores({ places, env: this.#env, tally, next, command })
    do {
      await restores.round()
      await sleep(next() * 5000)
    } while (performance.now() < this.#until)
  }

  get #database(): string {
    return `file://${this.#path('db')}`
  }

  #wasAway(since: number): boolean {
    return !this.#isUp || this.#lastOutage >= since
  }

  async #upkeep(next: () => number): Promise<void> {
    const jobs = ['snapshot', 'drill', 'drill', 'verify', 'head', 'status', 'prune', 'compact'] as const
    while (performance.now() < this.#until) {
      await sleep(1000 + next() * 6000)
      const job = jobs[Math.floor(next() * jobs.length)] ?? 'drill'
      const since = performance.now()
      const kills = this.#deaths()
      const { code, out, err } = await this.#command(job, ...(job === 'prune' ? this.#pruning() : []))
      if (job === 'prune') this.#keptFrom = Date.now() - this.#windowMs
      // Who was asked and died is asked again; whoever came in its place can die as well.
      const isExcused = this.#wasAway(since) || this.#deaths() > kills + 1
      if (code === EXIT_CODES.ok[0]) {
        this.tally.add(`${job} done`)
        if (job === 'head') this.#heads.push(out.trim())
      } else if (job === 'status' && code === EXIT_CODES.stalled[0]) this.tally.add('status of a stalled stream')
      else if (code === EXIT_CODES.unavailable[0] && isExcused) this.tally.add(`${job} put off`)
      else throw new Error(`tidemark ${job} ended with ${code}: ${out.slice(-1500)} ${err.slice(-1500)}`)
    }
  }

  /** A quarter of the soak is promised, a minute at least: a short one prunes nothing. */
  get #windowMs(): number {
    return Math.max(60_000, this.#options.minutes * 15_000)
  }

  #pruning(): readonly string[] {
    return ['--window', `${this.#windowMs}ms`, '--grace', '20s', '--confirm']
  }

  #deaths(): number {
    return this.tally.of('kills') + this.tally.of('restores killed')
  }

  #command(...args: string[]): Promise<Run> {
    return tidemark(this.#directory, args, this.#env)
  }

  async #stop({ name, child }: Writer): Promise<void> {
    const ended = new Promise((resolve) => child?.on('exit', resolve))
    child?.stdin?.write('stop\n')
    const code = await Promise.race([ended, sleep(PATIENCE_MS, 'not yet')])
    if (code !== 0) throw new Error(`${name} ended with ${code}: ${readFileSync(this.#path(`${name}.err`), 'utf8')}`)
  }

  async #account(): Promise<void> {
    const status = await this.#expectOk('status', '--fail-on-gap', '--json')
    const [found] = jsonLines(status.out)
    const open = JSON.stringify(found?.streams).match(/"state":"open"/g)
    if (open !== null) throw new Error(`${open.length} streams are open: ${status.out}`)
    // Thousands of segments are read each time: the oldest head and the last stand for those between.
    for (const head of new Set([this.#heads.at(0), this.#heads.at(-1)])) {
      this.#note('verifying the whole history')
      await this.#expectOk('verify', ...(head === undefined ? [] : ['--head', head]))
    }
    this.#note('accounting for every acknowledged write')
    await this.#expectOk('decrypt', '--target', this.#path('plain'))
    const lines = NAMES.flatMap((name) => this.#acknowledged(name))
    this.tally.add('failed writes', lines.filter((line) => line.startsWith('E ')).length)
    const live = await this.#live()
    const kept = this.#kept(found)
    this.tally.add('streams that were pruned', kept.bases.size)
    const account = await accountFor(this.#path('plain'), lines, live, kept)
    this.tally.add('acknowledged writes', account.acknowledged)
    this.tally.add('events', account.events)
    this.tally.add('streams', account.streams)
    if (account.faults.length > 0) throw new Error(account.faults.join('\n'))
    await this.#expectFaults(lines, live, kept)
  }

  /** As the status has the streams; an event is stamped a moment before its write is acknowledged. */
  #kept(status: Record<string, unknown> | undefined): Kept {
    const bases = new Map<string, number>()
    const streams: unknown[] = Array.isArray(status?.streams) ? status.streams : []
    for (const { id, base } of streams as { id: string; base?: { sequence: number } }[])
      if (base !== undefined) bases.set(id, base.sequence)
    return { from: bases.size === 0 ? 0 : this.#keptFrom + ACK_MS, bases }
  }

  /** An account that passes over a lie proves nothing: each of these must be found. */
  async #expectFaults(lines: readonly string[], live: ReadonlyMap<string, string>, kept: Kept): Promise<void> {
    const [id, token] = [...live][0] ?? []
    const lies: readonly (readonly [readonly string[], ReadonlyMap<string, string>])[] = [
      [[...lines, `W notes ${id} ${token}-never`], live],
      [[...lines, `D notes never-there`], live],
      [[...lines].reverse(), live],
      [lines, new Map([...live].slice(1))],
    ]
    for (const [told, held] of lies) {
      const { faults } = await accountFor(this.#path('plain'), told, held, kept)
      if (faults.length !== 1) throw new Error(`the account passes over a lie: ${JSON.stringify(faults)}`)
    }
  }

  #acknowledged(name: string): string[] {
    const path = this.#path(`${name}.acknowledged`)
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []
  }

  async #expectOk(...args: string[]): Promise<Run> {
    const run = await this.#command(...args)
    if (run.code !== 0) throw new Error(`tidemark ${args.join(' ')} ended with ${run.code}: ${run.out}${run.err}`)
    return run
  }

  /** The token of each record that the database holds. */
  async #live(): Promise<Map<string, string>> {
    const db = new S3db({ connectionString: this.#database, logLevel: 'silent' })
    await db.connect()
    const notes = await db.getResource('notes')
    const found = new Map<string, string>()
    for (const id of await notes.listIds()) found.set(id, String((await notes.get(id)).token))
    await db.disconnect()
    return found
  }
}

/** The process that one started in the end: that in a namespace is the child of what made the namespace. */
function innermost(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  return child === undefined || child === '' || !HAS_NAMESPACES ? pid : Number(child)
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}
