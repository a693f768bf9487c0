import { hash } from 'node:crypto'

/*
 * A puncturable pseudorandom function: the tree of Goldreich, Goldwasser and Micali, from whose root a key for every
 * path can be made, and from which single paths can be taken out for good (Boneh and Waters 2013; Green and Miers 2015
 * forget messages with it).
 *
 *   child i of a node = SHA-256(node, u8 i), i from 0 to 3; the root is random; a path has 32 steps
 *
 * What is punctured is replaced by its siblings on the way down: from them every other leaf can be made, and this one
 * cannot. Two children a node instead of four would make a puncture a third smaller and a key take twice as long,
 * sixteen would halve the time and make a puncture 2.5 times as large. Two records share a path by chance only: among
 * 10^9 records and 10^4 erasures one of another record is hit with a probability of 5 x 10^-7.
 */
export const KEY_BYTES = 32
/** Bytes of a path: 32 steps of two bits, the upper bits first. */
export const PATH_BYTES = 8
const STEPS = PATH_BYTES * 4
const CHILDREN = 4

/** A key from which all below it can be made; its four children, where something below was punctured; null: punctured. */
type Node = Uint8Array | Inner | null
interface Inner {
  readonly children: readonly Node[]
}

/** A tree as it is stored, in preorder. */
export interface StoredTree {
  /** `(` has four children, which follow; `k` has a key; `-` is a punctured leaf. */
  readonly shape: string
  /** The keys of every `k`, in order. */
  readonly keys: Uint8Array
}

/** Keys for every path but those that were punctured. Immutable. */
export class KeyTree {
  readonly #root: Node

  private constructor(root: Node) {
    this.#root = root
  }

  /** The tree of a random root of 32 bytes, nothing punctured. */
  static of(root: Uint8Array): KeyTree {
    if (root.length !== KEY_BYTES) throw new RangeError(`a root has ${KEY_BYTES} bytes`)
    return new KeyTree(Uint8Array.from(root))
  }

  /** Null where these are no tree. */
  static parse({ shape, keys }: StoredTree): KeyTree | null {
    const reader = new TreeReader(shape, keys)
    const root = reader.read(0)
    return root === undefined || !reader.atEnd ? null : new KeyTree(root)
  }

  /** The key of a path, or null where it was punctured. */
  leaf(path: Uint8Array): Uint8Array | null {
    let node = this.#root
    let depth = 0
    for (; node !== null && 'children' in node; depth++) node = node.children[stepOf(path, depth)] ?? null
    return node === null ? null : descend(node, path, depth)
  }

  /** The tree without the key of a path; the same tree where that is punctured already. */
  without(path: Uint8Array): KeyTree {
    if (path.length !== PATH_BYTES) throw new RangeError(`a path has ${PATH_BYTES} bytes`)
    return this.leaf(path) === null ? this : new KeyTree(puncture(this.#root, path, 0))
  }

  /** As `parse` reads it. */
  get stored(): StoredTree {
    let shape = ''
    const keys: Uint8Array[] = []
    const visit = (node: Node): void => {
      if (node === null) shape += '-'
      else if ('children' in node) {
        shape += '('
        node.children.forEach(visit)
      } else {
        shape += 'k'
        keys.push(node)
      }
    }
    visit(this.#root)
    return { shape, keys: Buffer.concat(keys) }
  }
}

function stepOf(path: Uint8Array, depth: number): number {
  return ((path[depth >> 2] ?? 0) >> (6 - 2 * (depth & 3))) & 3
}

const input = new Uint8Array(KEY_BYTES + 1)

function childOf(node: Uint8Array, step: number): Uint8Array {
  input.set(node)
  input[KEY_BYTES] = step
  return hash('sha256', input, 'buffer')
}

function descend(from: Uint8Array, path: Uint8Array, depth: number): Uint8Array {
  let node = from
  for (let at = depth; at < STEPS; at++) node = childOf(node, stepOf(path, at))
  return node
}

function puncture(node: Node, path: Uint8Array, depth: number): Node {
  if (node === null || depth === STEPS) return null
  const children =
    'children' in node ? node.children : Array.from({ length: CHILDREN }, (_, step) => childOf(node, step))
  const wanted = stepOf(path, depth)
  return { children: children.map((child, step) => (step === wanted ? puncture(child, path, depth + 1) : child)) }
}

class TreeReader {
  readonly #shape: string
  readonly #keys: Uint8Array
  #at = 0
  #taken = 0

  constructor(shape: string, keys: Uint8Array) {
    this.#shape = shape
    this.#keys = keys
  }

  get atEnd(): boolean {
    return this.#at === this.#shape.length && this.#taken === this.#keys.length
  }

  /** The node that stands next; undefined where none of this depth can. */
  read(depth: number): Node | undefined {
    const sign = this.#shape[this.#at++]
    if (sign === '-') return depth === STEPS ? null : undefined
    if (sign === 'k') {
      const key = this.#keys.slice(this.#taken, this.#taken + KEY_BYTES)
      this.#taken += KEY_BYTES
      return key.length === KEY_BYTES ? key : undefined
    }
    if (sign !== '(' || depth === STEPS) return undefined
    const children: Node[] = []
    for (let step = 0; step < CHILDREN; step++) {
      const child = this.read(depth + 1)
      if (child === undefined) return undefined
      children.push(child)
    }
    return { children }
  }
}
