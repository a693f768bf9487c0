import { CommanderError } from 'commander'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { exitCodeOf } from './exit-codes.ts'
import { printable } from './format.ts'
import { painter, type Terminal, writeLines } from './terminal.ts'

/**
 * Tells a person what happened, what it means and what to type next; a program gets one line of JSON. Both on stderr:
 * stdout is data. Returns the exit code.
 */
export async function reportFailure(thrown: unknown, terminal: Terminal, json: boolean): Promise<number> {
  const error = thrown instanceof CommanderError ? usageError(thrown) : thrown
  const code = exitCodeOf(error)
  await writeLines(terminal.err, json ? [jsonOf(error, code)] : linesOf(error, terminal))
  return code
}

/** What was typed and does not fit, of one command or of none that is known. */
export function usageError({ message }: CommanderError, command: string | null = null): TidemarkError {
  const what = withoutValues(message)
    .replace(/^error: /, '')
    .replace(/\.$/, '')
    .replaceAll('\n', ' ')
  return new TidemarkError('OPTION_INVALID', `${what.charAt(0).toUpperCase()}${what.slice(1)}. Nothing was done.`, {
    hint: command === null ? 'See tidemark --help, or tidemark <command> --help.' : `See tidemark ${command} --help.`,
  })
}

/** What was typed where nothing belongs may be a secret in the wrong place. */
function withoutValues(message: string): string {
  return message
    .replace(/(unknown option '[^'=]*)=.*'/s, "$1'")
    .replace(/unknown command '.*'/s, 'unknown command')
    .replace(/( but got \d+): .*$/s, '$1')
}

function linesOf(error: unknown, terminal: Terminal): string[] {
  const paint = painter(terminal.err, terminal)
  if (error instanceof TidemarkError) {
    return [
      `${paint('red', 'error')} ${paint('dim', error.code)}: ${multiline(error.message)}`,
      `${paint('cyan', 'next')}: ${multiline(error.hint)}`,
    ]
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return [
    `${paint('red', 'unexpected error')}: ${stack}`,
    'next: report this with what was typed; nothing else is known.',
  ]
}

function multiline(text: string): string {
  return text.split('\n').map(printable).join('\n  ')
}

function jsonOf(error: unknown, exitCode: number): string {
  const value = error instanceof TidemarkError ? error.toJSON() : { code: 'UNEXPECTED', message: messageOf(error) }
  return JSON.stringify({ error: { ...value, exitCode } })
}
