import { AsyncLocalStorage } from 'node:async_hooks'
import { shared } from '../base/shared.ts'
import { type Context, NO_CONTEXT } from '../model/event.ts'

/** Who writes, in which transaction, and what the application notes about it (any JSON value). */
export interface Attribution {
  readonly actor?: string
  readonly tx?: string
  readonly meta?: unknown
}

/** Of the process: the application attributes its writes with one copy of this package, and an adapter may ask another. */
const storage = shared('context', () => new AsyncLocalStorage<Context>())

/** Runs `fn`; every write that it starts, also later and asynchronously, is attributed so. Inner values win. */
export function as<T>({ actor, tx, meta }: Attribution, fn: () => T): T {
  const outer = currentContext()
  const metadata = meta === undefined ? outer.metadata : (JSON.stringify(meta) ?? null)
  return storage.run({ actor: actor ?? outer.actor, transaction: tx ?? outer.transaction, metadata }, fn)
}

/** The attribution of a write that starts here. */
export function currentContext(): Context {
  return storage.getStore() ?? NO_CONTEXT
}
