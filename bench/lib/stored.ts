import type { ObjectStore } from '../../src/store/object-store.ts'

/** What is in a store: its bytes, and how many files of each kind, for people. */
export async function storedIn(
  store: Pick<ObjectStore, 'list'>,
): Promise<{ readonly bytes: number; readonly files: string }> {
  const kinds = new Map<string, number>()
  let bytes = 0
  for await (const { key, bytes: size } of store.list('')) {
    const kind = key.split('/')[0] ?? ''
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    bytes += size
  }
  return { bytes, files: [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ') }
}
