import { isUlid } from '../model/ulid.ts'

/** Whether a value that somebody else has written is what it must be. */
export type Check = (value: unknown) => boolean

/** An object with these members; others are left alone, for those who know them. */
export function shaped(
  members: Readonly<Record<string, Check>>,
  optional: Readonly<Record<string, Check>> = {},
): Check {
  const required = Object.entries(members)
  const possible = Object.entries(optional)
  return (value) =>
    isObject(value) &&
    required.every(([name, check]) => Object.hasOwn(value, name) && check(value[name])) &&
    possible.every(([name, check]) => value[name] === undefined || check(value[name]))
}

/** A list of such values, at least so many. */
export function listOf(check: Check, least = 0): Check {
  return (value) => Array.isArray(value) && value.length >= least && value.every(check)
}

/** A text that matches. */
export function matching(pattern: RegExp): Check {
  return (value) => typeof value === 'string' && pattern.test(value)
}

/** One of these values. */
export function oneOf(...values: readonly unknown[]): Check {
  return (value) => values.includes(value)
}

/** Null, or such a value. */
export function orNull(check: Check): Check {
  return (value) => value === null || check(value)
}

/** A whole number from `least` on that is exact. */
export function wholeFrom(least: number, most: number = Number.MAX_SAFE_INTEGER): Check {
  return (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most
}

/** A time of RFC 3339, in UTC. */
export const dateTime: Check = matching(/^\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?Z$/)

/** A SHA-256 in hexadecimal. */
export const hash: Check = matching(/^[0-9a-f]{64}$/)

/** A ULID. */
export function isUlidText(value: unknown): boolean {
  return typeof value === 'string' && isUlid(value)
}

/** Any text. */
export function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
