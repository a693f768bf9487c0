import { sha256, utf8 } from '../base/bytes.ts'
import { type Image, type Item, SoundImage } from '../model/event.ts'
import type { Layout, Values } from './layout.ts'
import type { Layouts } from './layouts.ts'
import type { StoredObject } from './stored-object.ts'

/** What is said about bytes that are content rather than attributes. */
interface ContentNote {
  readonly type: string | null
  readonly bytes: number
  readonly sha256: string
}

type Entry = readonly [key: string, value: unknown]

/** Where the attributes of an object are, and whether its body is content. */
interface Parts {
  readonly entries: readonly Entry[]
  readonly content: boolean
  /** A copy of the attributes, decoded, that has some which the entries do not. */
  readonly copy: Values | null
}

/** The image of a stored object, whose encoded form is `raw`. */
export function imageOf(item: Item, stored: StoredObject, raw: Uint8Array, layouts: Layouts): Image | Promise<Image> {
  const values = item.kind === 'record' ? recordValues(item, stored, layouts) : objectValues(item, stored)
  if (values instanceof Promise) return values.then((made) => new SoundImage(jsonBytes(made), raw))
  return new SoundImage(jsonBytes(values), raw)
}

function jsonBytes(values: Values): Uint8Array {
  return Buffer.from(JSON.stringify(values))
}

/** An object besides the records: the JSON it holds, or what is in it. */
function objectValues({ id }: Item, stored: StoredObject): Values {
  const body = bodyObject(stored)
  return body === null ? rawValues(id, stored) : { ...body, id }
}

/**
 * The readable form of a record: `id`, then its attributes by name, decoded; secrets as the ciphertext that is
 * stored. Binary content becomes `_content` (`type`, `bytes`, `sha256`), with more underscores in front where an
 * attribute has that name. What cannot be decoded becomes `_raw`, with the metadata as stored and a note on the body.
 */
function recordValues(item: Item, stored: StoredObject, layouts: Layouts): Values | Promise<Values> {
  const version = stored.metadata.find(([key]) => key === '_v')?.[1] ?? null
  const layout = layouts.of(item.resource, version)
  const decode = (found: Layout | null): Values | Promise<Values> => decoded(item.id, stored, found)
  try {
    const values = layout instanceof Promise ? layout.then(decode) : decode(layout)
    // Whatever a record holds, it must be captured: `raw` is exact without a readable form.
    return values instanceof Promise ? values.catch(() => rawValues(item.id, stored)) : values
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return rawValues(item.id, stored)
  }
}

function decoded(id: string, stored: StoredObject, layout: Layout | null): Values | Promise<Values> {
  if (layout === null) return rawValues(id, stored)
  const own = ownLayout(layout, stored)
  const { entries, content, copy } = partsOf(stored, own)
  if (entries.length === 0 && (content || own.behavior === 'body-only')) return rawValues(id, stored)
  const values = own.decode(entries)
  const finish = (found: Values): Values =>
    withContent(id, copy === null ? found : own.completed(found, copy), content ? stored : null)
  return values instanceof Promise ? values.then(finish) : finish(values)
}

const ownLayouts = new WeakMap<Layout, Map<string, Layout>>()
const MAX_OWN_LAYOUTS = 64

/** `body-only` objects carry the keys that were in use when they were written. */
function ownLayout(layout: Layout, { metadata }: StoredObject): Layout {
  if (layout.behavior !== 'body-only') return layout
  const map = metadata.find(([key]) => key === '_map')?.[1]
  if (map === undefined) return layout
  const pluginMap = metadata.find(([key]) => key === '_pluginmap')?.[1] ?? '{}'
  const made = ownLayouts.get(layout) ?? new Map<string, Layout>()
  ownLayouts.set(layout, made)
  const known = made.get(map + pluginMap)
  if (known !== undefined) return known
  const own = layout.withNames(keysToNames(map), keysToNames(pluginMap))
  if (made.size >= MAX_OWN_LAYOUTS) made.clear()
  made.set(map + pluginMap, own)
  return own
}

function keysToNames(json: string): Map<string, string> {
  const map: unknown = JSON.parse(json)
  return new Map(Object.entries(Object(map)).map(([name, key]) => [String(key), name]))
}

function partsOf(stored: StoredObject, layout: Layout): Parts {
  const own: Entry[] = []
  let overflow = false
  for (const [key, value] of stored.metadata) {
    if (key === '_overflow') overflow = value === 'true'
    else if (layout.isAttribute(key)) own.push([key, storedValue(value)])
  }
  if (stored.body.length === 0) return { entries: own, content: false, copy: null }
  const body = bodyObject(stored)
  const holdsAttributes = overflow || own.length === 0
  if (body !== null && holdsAttributes)
    return { entries: [...Object.entries(body), ...own], content: false, copy: null }
  // Updates of some behaviors leave a copy of the attributes in the body; everything else is content.
  const content = body === null || isContent(stored)
  return { entries: own, content, copy: content || layout.behavior !== 'user-managed' ? null : body }
}

function storedValue(text: string): unknown {
  if (text === 'null') return null
  return text === 'undefined' ? undefined : text
}

function isContent({ metadata, body }: StoredObject): boolean {
  const flag = metadata.find(([key]) => key === '_hascontent')?.[1]
  const length = metadata.find(([key]) => key === '_contentlength')?.[1]
  return flag === 'true' && (length === String(body.length) || length === String(utf8Length(body)))
}

function utf8Length(body: string | Uint8Array): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length
}

function bodyObject({ body }: StoredObject): Record<string, unknown> | null {
  if (typeof body !== 'string' || !/^\s*\{/.test(body)) return null
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? { ...value } : null
  } catch (error) {
    if (error instanceof SyntaxError) return null // content that only begins like JSON
    throw error
  }
}

/** `id` in front of the other values, and the note on what is content behind them. */
function withContent(id: string, values: Values, stored: StoredObject | null): Values {
  const named = { id, ...values }
  named.id = id
  if (stored === null) return named
  let name = '_content'
  while (Object.hasOwn(named, name)) name = `_${name}`
  return { ...named, [name]: contentNote(stored) }
}

function rawValues(id: string, stored: StoredObject): Values {
  const body = stored.body.length === 0 ? null : contentNote(stored)
  return { id, _raw: { metadata: Object.fromEntries(stored.metadata), body } }
}

function contentNote({ body, contentType }: StoredObject): ContentNote {
  const bytes = typeof body === 'string' ? utf8(body) : body
  return { type: contentType, bytes: bytes.length, sha256: sha256(bytes) }
}
