import { random } from './random.ts'
import { type Fates, Inode } from './simulated-inode.ts'

/** What every call throws once the power is gone. */
export class PowerCut extends Error {
  constructor() {
    super('power cut')
  }
}

/** When the power goes: at the `nth` point (from 0) of this place, or of all where there is none. */
export interface Cut {
  readonly place?: string
  readonly nth: number
}

/** What a power cut did. */
export interface Damage extends Fates {
  /** Names that were made, replaced or removed, and are as they were before. */
  names: number
}

/** A directory: its names as they are, and all that each has been since the last sync. */
class Directory {
  readonly entries: Map<string, Node>
  readonly unsynced: Map<string, (Node | undefined)[]> = new Map()

  constructor(entries: Map<string, Node> = new Map()) {
    this.entries = entries
  }

  set(name: string, node: Node | undefined): void {
    const versions = this.unsynced.get(name) ?? [this.entries.get(name)]
    this.unsynced.set(name, versions)
    versions.push(node)
    if (node === undefined) this.entries.delete(name)
    else this.entries.set(name, node)
  }
}

type Node = Inode | Directory

/**
 * A tree of files that loses power between or inside any two calls. A write that was not synced is dropped, kept or
 * torn, each 512-byte sector by itself; names that were made, replaced or removed come and go until their directory is
 * synced. A killed process, unlike a power cut, leaves everything as others see it, and the same things unsynced.
 */
export class SimulatedTree {
  readonly damage: Damage = { dropped: 0, kept: 0, torn: 0, names: 0 }
  readonly #root: Directory
  readonly #passed = new Map<string, number>()
  #cut: Cut | null = null
  #points = 0
  #lastPlace = ''
  #off = false

  constructor(files: ReadonlyMap<string, Buffer> = new Map(), root: Directory = new Directory()) {
    this.#root = root
    for (const [path, content] of files) {
      const { directory, name } = this.#parent(path, true)
      directory.entries.set(name, new Inode(content))
    }
  }

  get isOff(): boolean {
    return this.#off
  }

  /** Points passed so far. */
  get points(): number {
    return this.#points
  }

  /** Where the power went. */
  get lastPlace(): string {
    return this.#lastPlace
  }

  /** Sets when the power goes, counted from now on; null: never. */
  arm(cut: Cut | null): void {
    this.#cut = cut
    this.#passed.clear()
  }

  /** Ends the process: no call has an effect any more. */
  turnOff(): void {
    this.#off = true
  }

  /** Turns the power off and on again: what the next process finds. */
  afterPowerCut(seed: number): SimulatedTree {
    this.turnOff()
    const settled = new Map<Inode, Inode>()
    const next = random(seed)
    const survive = (directory: Directory): Directory => {
      const entries = new Map<string, Node>()
      for (const name of new Set([...directory.entries.keys(), ...directory.unsynced.keys()])) {
        const now = directory.entries.get(name)
        const versions = directory.unsynced.get(name)
        const node = versions === undefined ? now : versions[Math.floor(next() * versions.length)]
        if (node !== now) this.damage.names++
        if (node instanceof Directory) entries.set(name, survive(node))
        else if (node !== undefined) {
          const inode = settled.get(node) ?? new Inode(node.settle(Math.floor(next() * 2 ** 32), this.damage))
          settled.set(node, inode)
          entries.set(name, inode)
        }
      }
      return new Directory(entries)
    }
    return new SimulatedTree(new Map(), survive(this.#root))
  }

  /** Kills the process: the next one finds what this one did, synced or not. */
  afterKill(): SimulatedTree {
    this.turnOff()
    return new SimulatedTree(new Map(), this.#root)
  }

  /** Every file as it is while the power is on, by path. */
  contents(): Map<string, Buffer> {
    const found = new Map<string, Buffer>()
    const walk = (directory: Directory, prefix: string): void => {
      for (const [name, node] of directory.entries) {
        if (node instanceof Directory) walk(node, `${prefix}${name}/`)
        else found.set(prefix + name, node.current())
      }
    }
    walk(this.#root, '')
    return found
  }

  /** A point at which the power may go; `place` names it in the tally. */
  async point(place: string): Promise<void> {
    await Promise.resolve()
    if (this.#off) throw new PowerCut()
    this.#points++
    const all = this.#pass('')
    const here = this.#pass(place)
    const cut = this.#cut
    if (cut === null || (cut.place === undefined ? all : cut.place === place ? here : -1) !== cut.nth) return
    this.#off = true
    this.#lastPlace = place
    throw new PowerCut()
  }

  /** The file at a path, or null; `ENOENT`, `ENOTDIR` where there is no directory for it. */
  file(path: string): Inode | null {
    const node = this.node(path)
    return node instanceof Inode ? node : null
  }

  node(path: string): Node | undefined {
    if (partsOf(path).length === 0) return this.#root
    const { directory, name } = this.#parent(path)
    return directory.entries.get(name)
  }

  names(path: string): ReadonlyMap<string, Node> {
    return this.#directory(path).entries
  }

  /** Gives the path this file, or takes it away. */
  set(path: string, node: Inode | undefined): void {
    const { directory, name } = this.#parent(path)
    directory.set(name, node)
  }

  makeDirectory(path: string): void {
    const { directory, name } = this.#parent(path)
    if (directory.entries.has(name)) throw errno('EEXIST')
    directory.set(name, new Directory())
  }

  /** Makes the names in a directory durable: all of them, or those of directories only. */
  syncDirectory(path: string, files = true): void {
    const { entries, unsynced } = this.#directory(path)
    for (const name of [...unsynced.keys()]) if (files || entries.get(name) instanceof Directory) unsynced.delete(name)
  }

  #directory(path: string): Directory {
    const node = this.node(path)
    if (node instanceof Directory) return node
    throw errno(node === undefined ? 'ENOENT' : 'ENOTDIR')
  }

  #parent(path: string, make = false): { directory: Directory; name: string } {
    const parts = partsOf(path)
    const name = parts.pop() ?? ''
    let directory = this.#root
    for (const part of parts) {
      if (make && !directory.entries.has(part)) directory.entries.set(part, new Directory())
      const next = directory.entries.get(part)
      if (!(next instanceof Directory)) throw errno(next === undefined ? 'ENOENT' : 'ENOTDIR')
      directory = next
    }
    return { directory, name }
  }

  #pass(place: string): number {
    const passed = this.#passed.get(place) ?? 0
    this.#passed.set(place, passed + 1)
    return passed
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '')
}

/** An error as the system gives it. */
export function errno(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code })
}
