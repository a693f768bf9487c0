import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Target } from '../restore/target.ts'

/**
 * A target whose own errors, as its driver throws them, are told as what they mean for what is restored, with what to do
 * next. `before`: the moment before a restore in place; null: it is none. Errors of the target's adapter that say all that
 * themselves pass. Errors: `TARGET_FULL`, `TARGET_DENIED`, `TARGET_UNAVAILABLE`.
 */
export function toldTarget(target: Target, before: string | null): Target {
  let isBegun = false
  const told = (error: unknown): unknown =>
    isDefect(error) ? error : targetError(error, target.name, { isBegun, before })
  const writing = async (work: () => Promise<void>): Promise<void> => {
    isBegun = true
    try {
      await work()
    } catch (error) {
      throw told(error)
    }
  }
  const { fit } = target
  return {
    name: target.name,
    takes: target.takes,
    ...(target.canBeTorn === undefined ? {} : { canBeTorn: target.canBeTorn }),
    scan: async function* (selection) {
      const states = target.scan(selection)[Symbol.asyncIterator]()
      try {
        for (;;) {
          const next = await states.next().catch((error: unknown) => Promise.reject(told(error)))
          if (next.done === true) return
          yield next.value
        }
      } finally {
        await states.return?.()
      }
    },
    write: (differences, conflicts) => writing(() => target.write(differences, conflicts)),
    finish: (selection, conflicts) => writing(() => target.finish(selection, conflicts)),
    ...(fit === undefined ? {} : { fit: (states) => Reflect.apply(fit, target, [states]) }),
    close: () => target.close(),
  }
}

/** What tells of no disk and no network, but of a mistake in a program. */
function isDefect(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
}

interface Progressed {
  readonly isBegun: boolean
  readonly before: string | null
}

const FULL = ['ENOSPC', 'EDQUOT']
const DENIED = ['EACCES', 'EPERM', 'EROFS', 'AccessDenied']

function targetError(error: unknown, name: string, { isBegun, before }: Progressed): unknown {
  if (error instanceof TidemarkError) return error
  const codes = codesOf(error)
  const isFull = FULL.some((code) => codes.has(code))
  const isDenied = DENIED.some((code) => codes.has(code))
  const code = isFull ? 'TARGET_FULL' : isDenied ? 'TARGET_DENIED' : 'TARGET_UNAVAILABLE'
  const todo = isFull
    ? 'Free space there'
    : isDenied
      ? 'Give this user the right to write there'
      : 'See that it can be reached'
  const state = isBegun ? 'It is restored in part.' : 'Nothing was changed.'
  const back = before === null || !isBegun ? '' : `, or take it back (--to ${before})`
  return new TidemarkError(
    code,
    `${name} could not be ${isBegun ? 'written' : 'read'}: ${messageOf(error)}. ${state}`,
    {
      hint: `${todo}; then ${isBegun ? 'the same restore again goes on from there' : 'try again'}${back}.`,
      details: { target: name },
      cause: error,
    },
  )
}

/** Names and codes of an error and of what it was made from: drivers wrap what the system said. */
function codesOf(error: unknown): ReadonlySet<string> {
  const codes = new Set<string>()
  for (let inner = error, depth = 0; inner instanceof Error && depth < 8; depth++) {
    for (const name of ['name', 'code', 'Code']) codes.add(String(Reflect.get(inner, name)))
    inner = Reflect.get(inner, 'original') ?? inner.cause
  }
  return codes
}
