import { text, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { type Image, SoundImage } from '../model/event.ts'
import { SCHEMA_KEY } from './keys.ts'

/** The schema items of an `s3db.json`: by resource name, the database itself under the empty name. */
export type SchemaImages = ReadonlyMap<string, Image>

/**
 * Splits `s3db.json`: one image per resource (its entry of `resources`), and one for the rest of the file. The time of
 * the last upload is left out: s3db.js changes it without a reason, and it would make an event of nothing.
 */
export function splitSchema(json: string | null): SchemaImages {
  const images = new Map<string, Image>()
  if (json === null) return images
  const { lastUpdated, resources, ...rest } = parseObject(json)
  images.set('', image(rest))
  if (isObject(resources)) {
    for (const [name, entry] of Object.entries(resources)) if (isObject(entry)) images.set(name, image(entry))
  }
  return images
}

/** The inverse of `splitSchema`: the content of `s3db.json`. `lastUpdated` is an ISO 8601 time. */
export function joinSchema(images: SchemaImages, lastUpdated: string): Record<string, unknown> {
  const database = images.get('')
  const rest = database === undefined ? {} : parseObject(text(database.json))
  const resources = [...images]
    .filter(([name]) => name !== '')
    .map(([name, { json }]): [string, unknown] => [name, parseObject(text(json))])
  return { ...rest, lastUpdated, resources: Object.fromEntries(resources) }
}

/** The names whose schema differs between the two, in no particular order. */
export function changedSchemas(before: SchemaImages, after: SchemaImages): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter((name) => {
    const [a, b] = [before.get(name), after.get(name)]
    return a === undefined || b === undefined || Buffer.compare(a.json, b.json) !== 0
  })
}

function image(value: object): Image {
  return new SoundImage(utf8(JSON.stringify(value)), null)
}

function parseObject(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json)
    if (isObject(value)) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new TidemarkError(
    'SOURCE_UNSUPPORTED',
    `${SCHEMA_KEY} is not a JSON object, so no schema can be read from it.`,
    {
      hint: `Repair ${SCHEMA_KEY} (s3db.js does so when it connects), or restore the schema from before the damage.`,
    },
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
