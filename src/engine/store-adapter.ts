import type { ObjectStore } from '../store/object-store.ts'
import { ownScheme } from '../store/open.ts'

/**
 * What a module exports as `storeAdapter`, so that the command line can open stores of a kind of its own, by URL. It is found as
 * `tidemark-adapter-<scheme>` where it is installed, or where `--store-adapter` says.
 */
export interface StoreAdapter {
  /** What the URLs begin with, without `://`; lower case. None of `file`, `memory` and `s3`. */
  readonly schemes: readonly string[]
  /** The store at a URL, with credentials from wherever its authors say, and not from the URL. Nothing is written yet. */
  open(url: string): Promise<ObjectStore>
}

/** The scheme of the URL of a store that needs a `StoreAdapter`; null where it needs none. */
export function storeSchemeOf(url: string): string | null {
  return ownScheme(url)
}
