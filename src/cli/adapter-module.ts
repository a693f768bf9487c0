import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Adapter } from '../engine/adapter.ts'

/**
 * The adapter that a module exports; null where no such module is installed. A package is looked for from `directory` on, as
 * an application there finds it, then beside this command; a path (`./adapter.js`) is one of `directory`. Nothing else is
 * loaded. Errors: `ADAPTER_MISSING` for one that cannot be loaded, or that exports no adapter.
 */
export async function adapterIn(specifier: string, directory: string): Promise<Adapter | null> {
  const file = resolved(specifier, [`${directory}/`, import.meta.url])
  if (file === null) return null
  const loaded: unknown = await import(pathToFileURL(file).href).catch((error: unknown) => {
    throw unusable(`The adapter ${specifier} cannot be loaded: ${sentence(error)}`, error)
  })
  const adapter: unknown = Reflect.get(Object(loaded), 'adapter')
  if (isAdapter(adapter)) return adapter
  throw unusable(`${specifier} is no adapter: it exports no \`adapter\` with schemes and open().`)
}

function resolved(specifier: string, places: readonly string[]): string | null {
  const name = specifier.startsWith('file:') ? fileURLToPath(specifier) : specifier
  for (const place of places) {
    try {
      return createRequire(place).resolve(name)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'MODULE_NOT_FOUND') continue
      throw unusable(`The adapter ${specifier} cannot be found: ${sentence(error)}`, error)
    }
  }
  return null
}

function isAdapter(value: unknown): value is Adapter {
  const { schemes, open }: { readonly [K in keyof Adapter]?: unknown } = Object(value)
  const areSchemes = Array.isArray(schemes) && schemes.every((scheme) => typeof scheme === 'string')
  return areSchemes && typeof open === 'function'
}

function sentence(error: unknown): string {
  return messageOf(error).replace(/\.?$/, '.')
}

function unusable(what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('ADAPTER_MISSING', `${what} Nothing was done.`, {
    hint: 'An adapter is a module that exports `adapter`, under the condition "default" of its package: see schemas/ADAPTERS.md.',
    ...(cause === undefined ? {} : { cause }),
  })
}
