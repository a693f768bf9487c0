import type { FileEntry, FileInfo, Files } from '../../src/store/files.ts'
import type { Body, ByteRange } from '../../src/store/object-store.ts'
import { Inode } from './simulated-inode.ts'
import { errno, type SimulatedTree } from './simulated-tree.ts'

/** How the files betray those who trust them: for the test of the test. */
export interface FilesLies {
  /** The content of a new file is not synced. */
  readonly contentIsNotSynced?: boolean
  /** The names of files are not synced, those of directories are. */
  readonly namesAreNotSynced?: boolean
}

/** A store's files in a simulated tree. */
export class TreeFiles implements Files {
  readonly #tree: SimulatedTree
  readonly #lies: FilesLies

  constructor(tree: SimulatedTree, lies: FilesLies = {}) {
    this.#tree = tree
    this.#lies = lies
  }

  async look(path: string): Promise<FileInfo> {
    await this.#tree.point('store read')
    const node = this.#tree.node(path)
    if (node === undefined) throw errno('ENOENT')
    const isFile = node instanceof Inode
    return { kind: isFile ? 'file' : 'directory', bytes: isFile ? node.current().length : 0, modifiedMs: 0 }
  }

  /** There are no links in it. */
  async realPath(path: string): Promise<string> {
    await this.look(path)
    return path
  }

  async list(directory: string): Promise<readonly FileEntry[]> {
    await this.#tree.point('store read')
    return [...this.#tree.names(directory)].map(([name, node]) => ({
      name,
      kind: node instanceof Inode ? 'file' : 'directory',
    }))
  }

  async read(path: string, range: ByteRange | null): Promise<{ bytes: Uint8Array; size: number } | null> {
    await this.#tree.point('store read')
    const node = this.#tree.node(path)
    if (node === undefined) throw errno('ENOENT')
    if (!(node instanceof Inode)) return null
    const content = node.current()
    return { bytes: Uint8Array.from(content.subarray(range?.start ?? 0, range?.end)), size: content.length }
  }

  async create(path: string, body: Body): Promise<void> {
    await this.#tree.point('store write')
    if (this.#tree.node(path) !== undefined) throw errno('EEXIST')
    const inode = new Inode()
    this.#tree.set(path, inode)
    let at = 0
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      await this.#tree.point('store write')
      inode.write(chunk, at)
      at += chunk.length
    }
    await this.#tree.point('store sync')
    if (this.#lies.contentIsNotSynced !== true) inode.sync()
    await this.#tree.point('store sync')
  }

  async place(from: string, to: string, how: 'rename' | 'link'): Promise<void> {
    await this.#tree.point(`store ${how}`)
    const inode = this.#tree.file(from)
    const there = this.#tree.node(to)
    if (inode === null) throw errno('ENOENT')
    if (how === 'link' && there !== undefined) throw errno('EEXIST')
    if (there !== undefined && !(there instanceof Inode)) throw errno('EISDIR')
    this.#tree.set(to, inode)
    if (how === 'rename') this.#tree.set(from, undefined)
    await this.#tree.point(`store ${how}`)
  }

  async remove(path: string): Promise<void> {
    await this.#tree.point('store remove')
    if (this.#tree.file(path) === null) throw errno('ENOENT')
    this.#tree.set(path, undefined)
    await this.#tree.point('store remove')
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#tree.point('store mkdir')
    this.#tree.makeDirectory(path)
    await this.#tree.point('store mkdir')
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#tree.point('store directory sync')
    this.#tree.syncDirectory(path, this.#lies.namesAreNotSynced !== true)
    await this.#tree.point('store directory sync')
  }
}
