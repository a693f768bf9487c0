import type { Disk, DiskEntry, DiskFile } from '../../src/capture/disk.ts'

/** What every call throws once the power is gone. */
export class PowerCut extends Error {
  constructor() {
    super('power cut')
  }
}

/** A small seeded generator (mulberry32): the same seed, the same faults. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const SECTOR = 512

interface Pending {
  readonly at: number
  readonly bytes: Uint8Array
}

/** An inode: what is durable, and the writes that are not. */
class Inode {
  durable: Buffer = Buffer.alloc(0)
  pending: Pending[] = []

  /** What a reader sees while the power is on. */
  current(): Buffer {
    return this.pending.reduce((content, write) => overlay(content, write.at, write.bytes), this.durable)
  }
}

function overlay(content: Buffer, at: number, bytes: Uint8Array): Buffer {
  const result = Buffer.alloc(Math.max(content.length, at + bytes.length))
  content.copy(result)
  result.set(bytes, at)
  return result
}

export interface SimulatedDiskOptions {
  readonly seed: number
  /** The power goes at this point; every call has one before, one inside and one after its effect. Default: never. */
  readonly cutAt?: number
  /** A disk that lies: nothing is synced. For the test of the test. */
  readonly syncDoesNothing?: boolean
}

/**
 * A disk that loses power between or inside any two calls. A commit that did not finish is dropped, kept or torn, each
 * 512-byte sector by itself; files that were made or removed come and go until their directory is synced.
 * One directory level: names are whole paths.
 */
export class SimulatedDisk implements Disk {
  readonly #options: SimulatedDiskOptions
  readonly #random: () => number
  #files: Map<string, Inode>
  /** The names as of the last sync of the directory. */
  #durableNames: Map<string, Inode>
  #points = 0
  #off = false

  constructor(options: SimulatedDiskOptions, files: ReadonlyMap<string, Buffer> = new Map()) {
    this.#options = options
    this.#random = random(options.seed)
    this.#files = new Map()
    for (const [path, content] of files) {
      const inode = new Inode()
      inode.durable = content
      this.#files.set(path, inode)
    }
    this.#durableNames = new Map(this.#files)
  }

  /** Points passed so far: a run without a cut says how many there are. */
  get points(): number {
    return this.#points
  }

  get isOff(): boolean {
    return this.#off
  }

  /** Turns the power off, and says what is on the disk afterwards. */
  powerOff(): Map<string, Buffer> {
    this.#off = true
    const names = new Map<string, Inode>()
    for (const path of new Set([...this.#files.keys(), ...this.#durableNames.keys()])) {
      const now = this.#files.get(path)
      const before = this.#durableNames.get(path)
      const inode = now === before || this.#random() < 0.5 ? now : before
      if (inode !== undefined) names.set(path, inode)
    }
    return new Map([...names].map(([path, inode]) => [path, this.#settled(inode)]))
  }

  /** What is on the disk while the power is on. */
  contents(): Map<string, Buffer> {
    return new Map([...this.#files].map(([path, inode]) => [path, inode.current()]))
  }

  async list(directory: string): Promise<readonly DiskEntry[]> {
    await this.#point()
    const prefix = `${directory}/`
    return [...this.#files]
      .filter(([path]) => path.startsWith(prefix))
      .map(([path, inode]) => ({ name: path.slice(prefix.length), bytes: inode.current().length }))
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    await this.#point()
    const inode = this.#files.get(path)
    if (inode === undefined) throw new Error(`no file ${path}`)
    return Uint8Array.from(inode.current().subarray(start, end))
  }

  async open(path: string): Promise<DiskFile> {
    await this.#point()
    const inode = this.#files.get(path) ?? new Inode()
    this.#files.set(path, inode)
    await this.#point()
    return {
      commit: (bytes, at) => this.#commit(inode, bytes, at),
      close: () => this.#point(),
    }
  }

  async remove(path: string): Promise<void> {
    await this.#point()
    this.#files.delete(path)
    await this.#point()
  }

  async syncDirectory(_directory: string): Promise<void> {
    await this.#point()
    if (this.#options.syncDoesNothing !== true) this.#durableNames = new Map(this.#files)
    await this.#point()
  }

  async #commit(inode: Inode, bytes: Uint8Array, at: number): Promise<void> {
    await this.#point()
    const write = { at, bytes: Uint8Array.from(bytes) }
    inode.pending.push(write)
    await this.#point()
    if (this.#options.syncDoesNothing !== true) {
      inode.durable = overlay(inode.durable, at, write.bytes)
      inode.pending = inode.pending.filter((other) => other !== write)
    }
    await this.#point()
  }

  /** What of a file's unfinished writes is on the disk: each sector old or new. */
  #settled(inode: Inode): Buffer {
    let content = inode.durable
    for (const { at, bytes } of inode.pending) {
      const fate = this.#random()
      if (fate < 0.25) continue
      for (let from = at; from < at + bytes.length; ) {
        const to = Math.min(at + bytes.length, (Math.floor(from / SECTOR) + 1) * SECTOR)
        if (fate < 0.5 || this.#random() < 0.6) content = overlay(content, from, bytes.subarray(from - at, to - at))
        from = to
      }
    }
    return content
  }

  async #point(): Promise<void> {
    await Promise.resolve()
    if (this.#off) throw new PowerCut()
    if (this.#points++ === this.#options.cutAt) {
      this.#off = true
      throw new PowerCut()
    }
  }
}
