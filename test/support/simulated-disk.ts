import { dirname } from 'node:path'
import type { Disk, DiskEntry, DiskFile } from '../../src/capture/disk.ts'
import { journalError } from '../../src/capture/node-disk.ts'
import { Inode } from './simulated-inode.ts'
import { errno, SimulatedTree } from './simulated-tree.ts'

export { random } from './random.ts'
export { PowerCut } from './simulated-tree.ts'

/** How a disk betrays those who trust it: for the test of the test. */
export interface DiskLies {
  /** Nothing is synced. */
  readonly syncDoesNothing?: boolean
  /** A commit resolves when it is written, and is synced later. */
  readonly resolvesEarly?: boolean
  /** What is written into a file that was removed is taken. */
  readonly takesIntoRemoved?: boolean
  /** A frame is said to outlive the process some time before it is written. */
  readonly saysWrittenFirst?: boolean
  /** A sync that failed is taken for one that succeeded. */
  readonly hidesFailures?: boolean
}

/** What a disk refuses now; it may change at any time. */
export interface DiskWeather {
  /** Bytes that all files of the journal may have: a write beyond is refused when a part of it is done. */
  capacity: number
  /** Whether the next sync fails. Later ones of that file succeed then, and bring nothing to the disk. */
  failsSync: () => boolean
}

/** Nothing is refused. */
export function fairWeather(): DiskWeather {
  return { capacity: Number.POSITIVE_INFINITY, failsSync: () => false }
}

const TURNS_OF_A_SYNC = 4

/** What a file is told to make durable. */
interface Commit {
  readonly bytes: Uint8Array
  readonly at: number
  readonly written: (() => void) | undefined
}

/** A journal's disk over a simulated tree of files. */
export class TreeDisk implements Disk {
  readonly #tree: SimulatedTree
  readonly #lies: DiskLies
  readonly #weather: DiskWeather
  /** Of these a sync has failed: every later one by this process succeeds, and brings nothing to the disk. */
  readonly #failed = new WeakSet<Inode>()

  constructor(tree: SimulatedTree, lies: DiskLies = {}, weather: DiskWeather = fairWeather()) {
    this.#tree = tree
    this.#lies = lies
    this.#weather = weather
  }

  async list(directory: string): Promise<readonly DiskEntry[]> {
    await this.#tree.point('journal read')
    return told(directory, () => this.#files(directory))
  }

  #files(directory: string): DiskEntry[] {
    return [...this.#tree.names(directory)].flatMap(([name, node]) =>
      node instanceof Inode && name !== '.' ? [{ name, bytes: node.current().length }] : [],
    )
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    await this.#tree.point('journal read')
    const inode = told(path, () => this.#tree.file(path) ?? missing())
    return Uint8Array.from(inode.current().subarray(start, end))
  }

  async open(path: string): Promise<DiskFile> {
    await this.#tree.point('journal open')
    const inode = told(path, () => this.#tree.file(path)) ?? new Inode()
    if (this.#tree.file(path) === null) this.#tree.set(path, inode)
    await this.#tree.point('journal open')
    return {
      commit: (bytes, at, written) => this.#commit(path, inode, { bytes, at, written }),
      close: () => this.#tree.point('journal close'),
    }
  }

  async remove(path: string): Promise<void> {
    await this.#tree.point('journal remove')
    if (this.#tree.file(path) !== null) this.#tree.set(path, undefined)
    await this.#tree.point('journal remove')
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#tree.point('journal directory sync')
    if (this.#lies.syncDoesNothing !== true) told(directory, () => this.#tree.syncDirectory(directory))
    await this.#tree.point('journal directory sync')
  }

  async #commit(path: string, inode: Inode, { bytes, at, written }: Commit): Promise<void> {
    if (this.#lies.saysWrittenFirst === true && written !== undefined) {
      written()
      await turns()
    }
    await this.#tree.point('journal write')
    const used = this.#files(dirname(path)).reduce((sum, file) => sum + file.bytes, 0)
    const fits = Math.max(0, inode.current().length + Math.max(0, this.#weather.capacity - used) - at)
    if (fits < bytes.length) {
      inode.write(bytes.subarray(0, fits), at)
      throw journalError(errno('ENOSPC'), path)
    }
    inode.write(bytes, at)
    if (this.#lies.takesIntoRemoved !== true && this.#tree.file(path) !== inode)
      throw journalError(errno('ENOENT'), path)
    written?.()
    const sync = (): Promise<void> => this.#sync(path, inode, at, at + bytes.length)
    if (this.#lies.resolvesEarly !== true) return sync()
    void this.#later(sync)
  }

  /** A sync takes its time. Whoever did not wait for it does not learn that it failed. */
  async #later(sync: () => Promise<void>): Promise<void> {
    await turns()
    await sync().catch(() => undefined)
  }

  async #sync(path: string, inode: Inode, from: number, to: number): Promise<void> {
    await this.#tree.point('journal sync')
    if (this.#weather.failsSync()) {
      this.#failed.add(inode)
      if (this.#lies.hidesFailures === true) return
      throw journalError(errno('EIO'), path)
    }
    if (this.#failed.has(inode)) return
    if (this.#lies.syncDoesNothing !== true) inode.sync(from, to)
    await this.#tree.point('journal sync')
  }
}

/** What a call on the tree throws, as the journal's disk says it. */
function told<T>(path: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw journalError(error, path)
  }
}

function missing(): never {
  throw errno('ENOENT')
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS_OF_A_SYNC; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export interface SimulatedDiskOptions extends DiskLies {
  readonly seed: number
  /** The power goes at this point; every call has one before, one inside and one after its effect. Default: never. */
  readonly cutAt?: number
  readonly weather?: DiskWeather
}

/** A disk with one directory, `journal`, on which the power goes at a point. */
export class SimulatedDisk extends TreeDisk {
  readonly #tree: SimulatedTree
  readonly #seed: number

  constructor(options: SimulatedDiskOptions, files: ReadonlyMap<string, Buffer> = new Map()) {
    const tree = new SimulatedTree(new Map([...files, ['journal/.', Buffer.alloc(0)]]))
    super(tree, options, options.weather)
    this.#tree = tree
    this.#seed = options.seed
    if (options.cutAt !== undefined) tree.arm({ nth: options.cutAt })
  }

  /** The power goes at this point, counted from now on. */
  cutAfter(points: number): void {
    this.#tree.arm({ nth: points })
  }

  /** Points passed so far: a run without a cut says how many there are. */
  get points(): number {
    return this.#tree.points
  }

  get isOff(): boolean {
    return this.#tree.isOff
  }

  /** Turns the power off, and says what is on the disk afterwards. */
  powerOff(): Map<string, Buffer> {
    return this.#tree.afterPowerCut(this.#seed).contents()
  }

  /** What is on the disk while the power is on. */
  contents(): Map<string, Buffer> {
    return this.#tree.contents()
  }
}
