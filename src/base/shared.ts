/**
 * What every copy of this package in a process has in common, made by the first that asks for it. An adapter may come with a
 * copy of its own: what one copy notes in a variable of a module, the other does not see.
 */
export function shared<T extends object>(name: string, make: () => T): T {
  const key = Symbol.for(`tidemark.${name}`)
  const found: T | undefined = Reflect.get(globalThis, key)
  if (found !== undefined) return found
  const made = make()
  Object.defineProperty(globalThis, key, { value: made })
  return made
}
