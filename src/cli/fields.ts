import { isDeepStrictEqual } from 'node:util'
import { printable, shortened } from './format.ts'

/** A field that two JSON objects have differently; undefined where one does not have it. */
export interface FieldChange {
  readonly field: string
  readonly before: unknown
  readonly after: unknown
}

/** The fields in which two JSON objects differ, in the order of the later one; null is an object that does not exist. */
export function changedFields(before: string | null, after: string | null): FieldChange[] {
  const left = objectOf(before)
  const right = objectOf(after)
  const fields = new Set([...right.keys(), ...left.keys()])
  return [...fields]
    .map((field) => ({ field, before: left.get(field), after: right.get(field) }))
    .filter((change) => !isDeepStrictEqual(change.before, change.after))
}

const VALUE_LENGTH = 48

/** `name: "Rome" -> "Roma"`, on one line. */
export function fieldText({ field, before, after }: FieldChange): string {
  const name = printable(shortened(field, VALUE_LENGTH))
  if (before === undefined) return `${name}: ${valueText(after)}`
  if (after === undefined) return `${name}: ${valueText(before)} -> (none)`
  return `${name}: ${valueText(before)} -> ${valueText(after)}`
}

function valueText(value: unknown): string {
  return printable(shortened(JSON.stringify(value), VALUE_LENGTH))
}

function objectOf(json: string | null): Map<string, unknown> {
  if (json === null) return new Map()
  const value: unknown = JSON.parse(json)
  return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : new Map([['', value]])
}
