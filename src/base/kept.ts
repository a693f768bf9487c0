/** Values by their keys: those that were used last, as many as fit into so many bytes; the last one in any case. */
export class Kept<Value> {
  readonly #most: number
  readonly #values = new Map<string, { readonly value: Value; readonly bytes: number }>()
  #bytes = 0

  constructor(most: number) {
    this.#most = most
  }

  /** Of all values. */
  get bytes(): number {
    return this.#bytes
  }

  /** Without using it. */
  peek(key: string): Value | undefined {
    return this.#values.get(key)?.value
  }

  get(key: string): Value | undefined {
    const known = this.#values.get(key)
    if (known === undefined) return undefined
    this.#values.delete(key)
    this.#values.set(key, known)
    return known.value
  }

  keep(key: string, value: Value, bytes: number): void {
    this.forget(key)
    this.#values.set(key, { value, bytes })
    this.#bytes += bytes
    for (const oldest of this.#values.keys()) {
      if (this.#bytes <= this.#most || oldest === key) return
      this.forget(oldest)
    }
  }

  forget(key: string): void {
    this.#bytes -= this.#values.get(key)?.bytes ?? 0
    this.#values.delete(key)
  }
}
