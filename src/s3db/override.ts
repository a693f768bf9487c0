/**
 * Puts a method in front of `method`, the one that `target` has under `name`; returns what takes it away again. Where
 * somebody else has put theirs in front meanwhile, ours stays below it and only hands on.
 */
export function override<A extends readonly unknown[], R>(
  target: object,
  name: string,
  method: (...args: A) => R,
  wrap: (original: (...args: A) => R) => (...args: A) => R,
): () => void {
  const before = Object.getOwnPropertyDescriptor(target, name)
  const original = (...args: A): R => Reflect.apply(method, target, args)
  const replacement = wrap(original)
  let active = true
  const ours = (...args: A): R => (active ? replacement(...args) : original(...args))
  Object.defineProperty(target, name, { value: ours, configurable: true, writable: true, enumerable: false })
  return () => {
    active = false
    if (Object.getOwnPropertyDescriptor(target, name)?.value !== ours) return
    if (before === undefined) Reflect.deleteProperty(target, name)
    else Object.defineProperty(target, name, before)
  }
}
