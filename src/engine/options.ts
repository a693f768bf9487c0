import { inspect } from 'node:util'
import { messageOf, TidemarkError } from '../base/errors.ts'

/**
 * Refuses what is not an option: an option that is accepted is honoured. `known` names every member. Errors:
 * `OPTION_INVALID`.
 */
export function checkOptions(what: string, given: object, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption(what, 'they must be an object', known)
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw invalidOption(what, `there is no option ${name}`, known)
  }
}

/** Refuses a value that is none of the choices; absent is fine. */
export function checkChoice(what: string, name: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || (typeof value === 'string' && choices.includes(value))) return
  throw invalidOption(what, `${name} is ${shown(value)}`, choices)
}

/** Refuses a value that is no positive whole number; absent is fine. */
export function checkPositive(what: string, name: string, value: unknown): void {
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) > 0)) return
  throw invalidOption(what, `${name} is ${shown(value)}`, ['a whole number above 0'])
}

/** Refuses a value that is no whole number, or a smaller one; absent is fine. */
export function checkAtLeast(what: string, name: string, value: unknown, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= least)) return
  throw invalidOption(what, `${name} is ${shown(value)}`, [`a whole number of at least ${least}`])
}

/** Refuses a value that is neither true nor false; absent is fine. */
export function checkFlag(what: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === 'boolean') return
  throw invalidOption(what, `${name} is ${shown(value)}`, ['true', 'false'])
}

/** Refuses a value that is no text, an empty one, or one with half of a surrogate pair; absent is fine. */
export function checkText(what: string, name: string, value: unknown): void {
  if (value === undefined || (typeof value === 'string' && value !== '' && value.isWellFormed())) return
  throw invalidOption(what, `${name} is ${shown(value)}`, ['a text of whole characters that is not empty'])
}

/** Refuses a value that is no list of texts, or an empty one, which would choose nothing; absent is fine. */
export function checkTexts(what: string, name: string, value: unknown): void {
  if (value === undefined) return
  const isList = Array.isArray(value) && value.every((one) => typeof one === 'string')
  if (isList && value.length > 0) return
  const found = isList ? 'an empty list, which chooses nothing' : shown(value)
  throw invalidOption(what, `${name} is ${found}`, ['a list of texts; left out, it is everything'])
}

/** Refuses names of resources that are none: an empty one is what a variable of a shell gives that is not set. */
export function checkResources(what: string, value: unknown): void {
  checkTexts(what, 'resources', value)
  for (const name of Array.isArray(value) ? value : []) checkText(what, 'a name in resources', name)
}

/** Refuses what is no name of a resource, or no id. */
export function checkName(what: string, name: string, value: unknown): void {
  if (typeof value !== 'string') throw invalidOption(what, `${name} is ${shown(value)}`, ['a text'])
}

/** Refuses a value that JSON cannot hold, such as a circle; absent is fine. */
export function checkJson(what: string, name: string, value: unknown): void {
  try {
    JSON.stringify(value)
  } catch (error) {
    throw invalidOption(what, `${name} cannot be written as JSON (${messageOf(error).split('\n')[0]})`, [
      'what JSON can hold: texts, numbers, true, false, null, lists and objects',
    ])
  }
}

/** Refuses a value that is no function; absent is fine. */
export function checkFunction(what: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return
  throw invalidOption(what, `${name} is ${shown(value)}`, ['a function'])
}

/** Refuses a source that an adapter has not made whole; absent is fine. */
export function checkSource(what: string, value: unknown): void {
  if (value === undefined) return
  if (!hasMethods(value, ['attach', 'items', 'read'])) {
    throw invalidOption(what, `source is ${shown(value)}`, [
      'a source of an adapter, with attach(), items() and read()',
    ])
  }
  const { identity, volatile } = value
  if (typeof identity === 'string' && identity !== '' && typeof volatile === 'boolean') return
  throw invalidOption(what, 'source does not say what it is', [
    'identity: a text that is not empty',
    'volatile: true or false',
  ])
}

/** Refuses a target that is neither a text nor one of an adapter; `others` may be given too. */
export function checkTarget(what: string, value: unknown, others: readonly string[] = []): void {
  if (typeof value === 'string') return
  if (hasMethods(value, ['scan', 'write', 'finish', 'close'])) {
    const { name, takes } = value
    if (typeof name === 'string' && (takes === 'differences' || takes === 'states')) return
    throw invalidOption(what, 'target does not say what it is', ['name: a text', 'takes: differences or states'])
  }
  throw invalidOption(what, `target is ${shown(value)}`, [
    'target: a directory (file:./recovered or a path)',
    ...others,
    'or a target of an adapter',
  ])
}

/** Whether an adapter has made something with these methods; what else it has is not known. */
function hasMethods(value: unknown, names: readonly string[]): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' && value !== null && names.every((name) => typeof Reflect.get(value, name) === 'function')
  )
}

/** Anything at all, on one line; nothing of what is in it, which may be a secret in the wrong place. */
function shown(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value, { depth: -1, customInspect: false })
}

/** The error for an option that is not valid. */
export function invalidOption(what: string, why: string, expected: readonly string[]): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `The options of ${what} are not valid: ${why}. Nothing was started.`, {
    hint: `Expected: ${expected.join(', ')}.`,
  })
}
