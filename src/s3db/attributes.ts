import { decodeDecimal, decodeFixedPoint, decode as fromBase62 } from 's3db.js/concerns/base62'
import type { Attributes, SchemaAction } from './client.ts'

/** From a stored value to the value of an attribute, as `Schema.unmapper` of s3db.js does it, but synchronous. */
export type Decode = (value: unknown) => unknown

/**
 * The decoder of one attribute, or null for the types that are left to s3db.js's own unmapper (which takes 0.25 ms a
 * record where these take microseconds). `actions` are the `afterUnmap` hooks that s3db.js derived for the attribute.
 */
export function attributeDecoder(definition: unknown, actions: readonly SchemaAction[]): Decode | null {
  // Secrets stay ciphertext: to decrypt takes a PBKDF2 of 100,000 rounds, and a backup must not hold plain text.
  const kept = actions.filter((action) => nameOf(action) !== 'decrypt')
  if (kept.length === 0) return plainDecoder(definition)
  const steps: Decode[] = []
  for (const action of kept) {
    const step = actionDecoder(action)
    if (step === null) return null
    steps.push(step)
  }
  return (value) => steps.reduce((current, step) => step(current), parsed(value))
}

/** What s3db.js does to any text without a type of its own: text that looks like JSON is read as JSON. */
export function parsed(value: unknown): unknown {
  if (typeof value !== 'string') return value
  if (value === '[object Object]') return {}
  return value.startsWith('{') || value.startsWith('[') ? fromJson(value) : value
}

/** The definition of an attribute by its dotted name. */
export function definitionOf(attributes: Attributes, name: string): unknown {
  let definition: unknown = attributes
  for (const part of name.split('.')) {
    if (typeof definition !== 'object' || definition === null) {
      return undefined
    }
    definition = Object.entries(definition).find(([key]) => key === part)?.[1]
  }
  return definition
}

const LEFT_TO_UNMAPPER = /^(uuid|timeonly|mac|cidr|semver|phone|color|duration|ean)(\||$)/

function plainDecoder(definition: unknown): Decode | null {
  if (typeof definition !== 'string') return parsed
  // The order of these tests is that of s3db.js, which looks for the words anywhere in the definition.
  if (/^uuid(\||$)/.test(definition)) return null
  if (definition.includes('datetime')) return onText((text) => new Date(fromBase62(text)).toISOString())
  if (definition.includes('dateonly')) {
    return onText((text) => new Date(fromBase62(text) * 86_400_000).toISOString().slice(0, 10))
  }
  if (LEFT_TO_UNMAPPER.test(definition) || definition.includes('number') || definition.includes('array')) return null
  return parsed
}

function onText(decode: (text: string) => unknown): Decode {
  return (value) => (typeof value === 'string' && value !== '' ? decode(value) : value)
}

function actionDecoder(action: SchemaAction): Decode | null {
  const params = typeof action === 'string' ? {} : (action.params ?? {})
  switch (nameOf(action)) {
    case 'fromBase62':
      return numberDecoder(fromBase62)
    case 'fromBase62Decimal':
      return numberDecoder(decodeDecimal)
    case 'toBool':
      return (value) =>
        value === true || value === 1 || value === 'true' || value === '1' || value === 'yes' || value === 'y'
    case 'fromJSON':
      return onText(fromJson)
    case 'toArray':
      return arrayDecoder((item) => item)
    case 'toArrayOfNumbers':
      return arrayDecoder((item) => (typeof item === 'string' && item !== '' ? fromBase62(item) : Number.NaN))
    case 'toArrayOfDecimals':
      return arrayDecoder((item) => (typeof item === 'string' && item !== '' ? decodeDecimal(item) : Number.NaN))
    case 'decodeMoney':
      return moneyDecoder(numberOf(params, 'decimals', 2))
    case 'decodeDecimalFixed':
      return fixedDecoder(numberOf(params, 'precision', 2))
    default:
      return null
  }
}

function nameOf(action: SchemaAction): string {
  return typeof action === 'string' ? action : action.action
}

function numberOf(params: object, name: string, otherwise: number): number {
  const value: unknown = Object.entries(params).find(([key]) => key === name)?.[1]
  return typeof value === 'number' ? value : otherwise
}

function numberDecoder(decode: (text: string) => number): Decode {
  return (value) => {
    if (value === null || value === undefined || value === '' || typeof value === 'number') return value
    if (typeof value !== 'string') return undefined
    const number = decode(value)
    return Number.isNaN(number) ? undefined : number
  }
}

function moneyDecoder(decimals: number): Decode {
  return (value) => {
    if (typeof value !== 'string' || !value.startsWith('$')) return value
    const number = fromBase62(value.slice(1))
    return Number.isNaN(number) ? value : number / 10 ** decimals
  }
}

function fixedDecoder(precision: number): Decode {
  return (value) => (typeof value === 'string' ? decodeFixedPoint(value, precision) : value)
}

function arrayDecoder(decodeItem: (item: unknown) => unknown): Decode {
  return (value) => {
    if (Array.isArray(value)) return value.map((item) => (typeof item === 'number' ? item : decodeItem(item)))
    if (value === null || value === undefined) return value
    return value === '' ? [] : splitEscaped(String(value)).map(decodeItem)
  }
}

/** Items are joined with `|`; a backslash takes the next character as it is. */
function splitEscaped(text: string): string[] {
  if (!text.includes('\\')) return text.split('|')
  const items: string[] = []
  let current = ''
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === '\\' && i + 1 < text.length) {
      current += text.charAt(++i)
    } else if (char === '|') {
      items.push(current)
      current = ''
    } else {
      current += char
    }
  }
  items.push(current)
  return items
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return text // not JSON after all: s3db.js keeps the text
    throw error
  }
}
