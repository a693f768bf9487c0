import { nonce, sha256 } from '../base/bytes.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { Kept } from '../base/kept.ts'
import { LIMITS } from '../base/limits.ts'
import { nodeGeneration, nodeKey } from '../format/keys.ts'
import { sealJson, unsealJson } from '../format/sealed-json.ts'
import type { TreeNode } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type Leaves, type NodeContent, widthOf } from './tree.ts'

/** What a tree is made of. */
export interface TreeKind<Node extends TreeNode, Entry> extends Leaves<Entry> {
  /** The name of its entries in a file. */
  readonly name: 'segments' | 'ledger'
  readonly isEntry: (value: unknown) => value is Entry
  readonly isNode: (value: unknown) => value is Node
  /** Entries of what stands in a file: `listed`, the other way round. */
  readonly entriesOf: (listed: readonly unknown[]) => readonly unknown[]
  /** The node of a file, with what is told of everything below it. */
  readonly nodeOf: (file: TreeNode, content: NodeContent<Node, Entry>) => Node
}

/** The file of a node. Errors: `LIMIT_EXCEEDED`. */
export function encodeNode<Node extends TreeNode, Entry>(
  kind: TreeKind<Node, Entry>,
  content: NodeContent<Node, Entry>,
): Uint8Array {
  const below = 'entries' in content ? { [kind.name]: kind.listed(content.entries) } : { nodes: content.nodes }
  return checkSize(
    sealJson({ format: 2, tree: kind.name, height: content.height, ...below }),
    'A node of the catalogue',
  )
}

/** What stands in the file of a node. Errors: `TIMELINE_CORRUPT`. */
export function decodeNode<Node extends TreeNode, Entry>(
  kind: TreeKind<Node, Entry>,
  { key, sha256: expected, height, width }: TreeNode,
  bytes: Uint8Array,
): NodeContent<Node, Entry> {
  if (bytes.length > LIMITS.rootBytes || sha256(bytes) !== expected)
    throw damagedNode(key, 'it is not what was written')
  const { format, tree, height: written, nodes, [kind.name]: entries } = unsealJson(bytes) ?? {}
  if (format !== 2 || tree !== kind.name || written !== height)
    throw damagedNode(key, 'it is not the node that is named')
  const content = height === 0 ? leafOf(kind, entries) : branchOf(kind, height, nodes)
  if (content === null || widthOf(content) !== width) throw damagedNode(key, 'what stands in it is malformed')
  return content
}

function leafOf<Node extends TreeNode, Entry>(
  { isEntry, entriesOf }: TreeKind<Node, Entry>,
  value: unknown,
): NodeContent<Node, Entry> | null {
  const entries = Array.isArray(value) ? entriesOf(value) : null
  return entries?.every(isEntry) === true ? { height: 0, entries } : null
}

function branchOf<Node extends TreeNode, Entry>(
  { isNode }: TreeKind<Node, Entry>,
  height: number,
  value: unknown,
): NodeContent<Node, Entry> | null {
  const isWhole = Array.isArray(value) && value.every(isNode) && value.every((node) => node.height < height)
  return isWhole ? { height, nodes: value } : null
}

/** Bytes of files whose content is kept once it was read. */
const KEPT_BYTES = 16 * 1024 * 1024

/** Reads nodes of a tree; what was read last is kept, since nodes never change. */
export class NodeReader<Node extends TreeNode, Entry> {
  readonly #kind: TreeKind<Node, Entry>
  readonly #store: Pick<ObjectStore, 'get'>
  readonly #kept = new Kept<NodeContent<Node, Entry>>(KEPT_BYTES)

  constructor(kind: TreeKind<Node, Entry>, store: Pick<ObjectStore, 'get'>) {
    this.#kind = kind
    this.#store = store
  }

  /** Errors: `TIMELINE_CORRUPT`, and those of the store. */
  readonly read = async (node: Node): Promise<NodeContent<Node, Entry>> => {
    const { key } = node
    const known = this.#kept.get(key)
    if (known !== undefined) return known
    const bytes = await this.#get(key)
    const content = decodeNode(this.#kind, node, bytes)
    this.#kept.keep(key, content, bytes.length)
    return content
  }

  /** What stands in a node, where that is known; null: it would have to be read. */
  known({ key }: Node): NodeContent<Node, Entry> | null {
    return this.#kept.peek(key) ?? null
  }

  /** Keeps no longer what stands in a node that nobody will ask for. */
  forget(key: string): void {
    this.#kept.forget(key)
  }

  /** Bytes of the files whose content is kept. */
  get keptBytes(): number {
    return this.#kept.bytes
  }

  async #get(key: string): Promise<Uint8Array> {
    try {
      return await this.#store.get(key)
    } catch (error) {
      if (hasCode(error, 'OBJECT_NOT_FOUND')) throw damagedNode(key, 'it is missing', error)
      throw error
    }
  }
}

/** A generation that begins to name a node comes less than so many behind the one that it was put for. */
export const NAMED_WITHIN = 8

/** Files of nodes that a commit needs; those that an attempt has put already are not put again. */
export class NodeFiles {
  readonly #generation: number
  readonly #put: ReadonlyMap<string, string>
  readonly files: { readonly key: string; readonly sha256: string; readonly bytes: Uint8Array }[] = []

  /**
   * `put`: keys of files that are there, by their SHA-256. Those that were put for one of the last `NAMED_WITHIN` generations are named
   * again, and no older ones: see `forgetGenerations`.
   */
  constructor(generation: number, put: ReadonlyMap<string, string>) {
    this.#generation = generation
    this.#put = put
  }

  /** The node of a content. Errors: `LIMIT_EXCEEDED`. */
  add<Node extends TreeNode, Entry>(kind: TreeKind<Node, Entry>, content: NodeContent<Node, Entry>): Node {
    const bytes = encodeNode(kind, content)
    const hash = sha256(bytes)
    const put = this.#put.get(hash)
    const isRecent = put !== undefined && (nodeGeneration(put) ?? 0) > this.#generation - NAMED_WITHIN
    const known = isRecent ? put : undefined
    const key = known ?? nodeKey(this.#generation, nonce())
    if (known === undefined) this.files.push({ key, sha256: hash, bytes })
    return kind.nodeOf({ key, sha256: hash, height: content.height, width: widthOf(content) }, content)
  }
}

/** The bytes, where a reader takes a root or a node of this size. Errors: `LIMIT_EXCEEDED`. */
export function checkSize(bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length <= LIMITS.rootBytes) return bytes
  throw new TidemarkError(
    'LIMIT_EXCEEDED',
    `${what} would have ${bytes.length} bytes, and no reader takes more than ${LIMITS.rootBytes}. It was not written, and nothing was changed.`,
    {
      hint: 'Many streams are open at once: `tidemark status` shows them, `tidemark stream end` ends those whose machine is gone. What was journalled is safe.',
    },
  )
}

/** The error for a node that cannot be read. */
export function damagedNode(key: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'TIMELINE_CORRUPT',
    `The catalogue's file ${key} is damaged: ${what}. Nothing was changed.`,
    {
      hint: 'Run `tidemark repair`: it shows how the timeline is made again from the segments and snapshots in the store.',
      details: { key },
      cause,
    },
  )
}
