import { compareUtf8 } from '../base/bytes.ts'
import type { Item } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import { isLocal } from './access.ts'
import type { ListPage, StorageClient } from './client.ts'
import { DATABASE, isText, itemOfKey, keyOfItem, notText } from './keys.ts'
import type { Reader } from './reader.ts'

const BATCH = 1000

/** Every item of the database, or of some resources, in the order of `compareItems`, in batches. */
export async function* listItems(reader: Reader, resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
  const chosen = resources === undefined ? null : new Set(resources)
  const named = await reader.schemas()
  const schemas = [...named.keys()]
    .filter((name) => chosen?.has(name) ?? true)
    .map((resource): Item => {
      if (!isText(resource)) throw notText(resource, 'The database cannot be listed with it.')
      return { kind: 'schema', resource, id: '' }
    })
    .sort(compareItems)
  yield* batches(schemas)
  yield* isLocal(reader.client) ? localItems(reader, chosen) : remoteItems(reader, chosen, [...named.keys()])
}

/**
 * Memory and files: one listing of everything, because every listing of theirs walks everything. Also finds the
 * records of resources that `s3db.json` does not name.
 */
async function* localItems(reader: Reader, chosen: ReadonlySet<string> | null): AsyncGenerator<readonly Item[]> {
  const items: Item[] = []
  for (const prefix of reader.space.pluginStorage ? ['resource=', 'plugin='] : ['resource=']) {
    for (const key of await reader.client.getAllKeys({ prefix })) {
      const item = itemOfKey(key, reader.space)
      if (item === null || item === DATABASE || !(chosen?.has(item.resource) ?? true)) continue
      if (!isText(key)) throw notText(key, 'The database cannot be listed with it.')
      items.push(item)
    }
  }
  yield* batches(items.sort(compareItems))
}

function* batches(items: readonly Item[]): Generator<readonly Item[]> {
  for (let i = 0; i < items.length; i += BATCH) yield items.slice(i, i + BATCH)
}

/**
 * S3 lists in the order of UTF-8 bytes, page by page, so nothing is sorted or held. Only of known resources: those that
 * the database has loaded, and those that `s3db.json` names now (`named`), which others may have made meanwhile.
 */
async function* remoteItems(
  reader: Reader,
  chosen: ReadonlySet<string> | null,
  named: readonly string[],
): AsyncGenerator<readonly Item[]> {
  const known = new Set([...reader.space.names(), ...named])
  const names = [...known].filter((name) => name !== '' && (chosen?.has(name) ?? true)).sort(compareUtf8)
  const plugin = reader.space.pluginStorage
  if (plugin && chosen === null) yield* pages(reader, 'plugin=')
  for (const resource of names) {
    for (const id of plugin ? ['plugin=', 'sequence='] : ['sequence=']) {
      yield* pages(reader, keyOfItem({ kind: 'object', resource, id }))
    }
  }
  for (const resource of names) yield* pages(reader, keyOfItem({ kind: 'record', resource, id: '' }))
}

async function* pages({ client, space }: Reader, prefix: string): AsyncGenerator<readonly Item[]> {
  for await (const keys of keyPages(client, prefix)) {
    const items = keys.map((key) => itemOfKey(key, space)).filter((item) => item !== null)
    if (items.length > 0) yield items
  }
}

/** The keys under a prefix as they are listed: page by page, of memory and files all at once (see `localItems`). */
export async function* keyPages(client: StorageClient, prefix: string): AsyncGenerator<readonly string[]> {
  if (isLocal(client)) return yield await client.getAllKeys({ prefix })
  let continuationToken: string | null = null
  do {
    const page: ListPage = await client.listObjects({ prefix, maxKeys: BATCH, continuationToken })
    yield (page.Contents ?? []).map(({ Key }) => withoutPrefix(client, Key))
    continuationToken = page.IsTruncated === true ? (page.NextContinuationToken ?? null) : null
  } while (continuationToken !== null)
}

/** S3 listings of s3db.js give whole keys, with the prefix of the database. */
function withoutPrefix({ config }: StorageClient, key: string): string {
  const prefix = (config?.keyPrefix ?? '').replace(/\/+$/, '')
  return prefix === '' ? key : key.slice(prefix.length + 1)
}
