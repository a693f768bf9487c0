import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Adapter } from '../engine/adapter.ts'

/** What a module is to export. */
export interface Export<T> {
  readonly name: string
  is(value: unknown): value is T
}

/**
 * What a module exports; null where no such module is installed. A package is looked for from `directory` on, as
 * an application there finds it, then beside this command; a path (`./adapter.js`) is one of `directory`. Nothing else is
 * loaded. Errors: `ADAPTER_MISSING` for one that cannot be loaded, or that exports no such thing.
 */
export async function exportedBy<T>(specifier: string, directory: string, wanted: Export<T>): Promise<T | null> {
  const file = resolved(specifier, [`${directory}/`, import.meta.url], wanted.name)
  if (file === null) return null
  const loaded: unknown = await import(pathToFileURL(file).href).catch((error: unknown) => {
    throw unusable(`The adapter ${specifier} cannot be loaded: ${sentence(error)}`, wanted.name, error)
  })
  const found: unknown = Reflect.get(Object(loaded), wanted.name)
  if (wanted.is(found)) return found
  throw unusable(`${specifier} is no adapter: it exports no \`${wanted.name}\` with schemes and open().`, wanted.name)
}

/** The adapter of databases that a module exports; as `exportedBy`. */
export function adapterIn(specifier: string, directory: string): Promise<Adapter | null> {
  return exportedBy(specifier, directory, { name: 'adapter', is: isAdapter })
}

/** The package in which an adapter for a scheme is looked for. */
export function packageOf(scheme: string): string {
  return `tidemark-adapter-${scheme.replaceAll(/[+.]/g, '-')}`
}

/** Whether a value has what all adapters have. */
export function isOfSchemes(value: unknown): boolean {
  const { schemes, open }: { readonly [K in keyof Adapter]?: unknown } = Object(value)
  const areSchemes = Array.isArray(schemes) && schemes.every((scheme) => typeof scheme === 'string')
  return areSchemes && typeof open === 'function'
}

function resolved(specifier: string, places: readonly string[], wanted: string): string | null {
  const name = specifier.startsWith('file:') ? fileURLToPath(specifier) : specifier
  for (const place of places) {
    try {
      return createRequire(place).resolve(name)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'MODULE_NOT_FOUND') continue
      throw unusable(`The adapter ${specifier} cannot be found: ${sentence(error)}`, wanted, error)
    }
  }
  return null
}

function isAdapter(value: unknown): value is Adapter {
  return isOfSchemes(value)
}

function sentence(error: unknown): string {
  return messageOf(error).replace(/\.?$/, '.')
}

function unusable(what: string, name: string, cause?: unknown): TidemarkError {
  return new TidemarkError('ADAPTER_MISSING', `${what} Nothing was done.`, {
    hint: `An adapter is a module that exports \`${name}\`, under the condition "default" of its package: see schemas/ADAPTERS.md.`,
    ...(cause === undefined ? {} : { cause }),
  })
}
