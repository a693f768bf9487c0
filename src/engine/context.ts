import { AsyncLocalStorage } from 'node:async_hooks'
import { shared } from '../base/shared.ts'
import { type Context, NO_CONTEXT } from '../model/event.ts'
import { checkFunction, checkJson, checkOptions, checkText } from './options.ts'

/** Who writes, in which transaction, and what the application notes about it (any JSON value). */
export interface Attribution {
  readonly actor?: string
  readonly tx?: string
  readonly meta?: unknown
}

/** Of the process: the application attributes its writes with one copy of this package, and an adapter may ask another. */
const storage = shared('context', () => new AsyncLocalStorage<Context>())

/**
 * Runs `fn`; every write that it starts, also later and asynchronously, is attributed so. Inner values win. Errors:
 * `OPTION_INVALID`, before anything is run.
 */
export function as<T>(attribution: Attribution, fn: () => T): T {
  checkOptions('as', attribution, ['actor', 'tx', 'meta'])
  const { actor, tx, meta } = attribution
  checkText('as', 'actor', actor)
  checkText('as', 'tx', tx)
  checkJson('as', 'meta', meta)
  checkFunction('as', 'fn', fn ?? null)
  const outer = currentContext()
  const metadata = meta === undefined ? outer.metadata : (JSON.stringify(meta) ?? null)
  return storage.run({ actor: actor ?? outer.actor, transaction: tx ?? outer.transaction, metadata }, fn)
}

/** The attribution of a write that starts here. */
export function currentContext(): Context {
  return storage.getStore() ?? NO_CONTEXT
}
