import type { Writable } from 'node:stream'
import { styleText } from 'node:util'

/** A stream of the process that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }

/** Where a command reads and writes. Data goes to `out`, everything else (progress, questions, errors) to `err`. */
export interface Terminal {
  readonly out: Output
  readonly err: Output
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** How text is marked; on anything but a terminal, and with NO_COLOR, not at all. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
/** Text as it is written: marked, or as it was. */
export type Paint = (style: Style, text: string) => string

/** Marks text for one stream of a terminal. */
export function painter(output: Output, { environment }: Terminal): Paint {
  const { NO_COLOR, TERM } = environment
  const plain = output.isTTY !== true || (NO_COLOR !== undefined && NO_COLOR !== '') || TERM === 'dumb'
  return plain ? (_style, text) => text : (style, text) => styleText(style, text, { validateStream: false })
}

/** Writes lines, waiting where the reader is slower. */
export async function writeLines(output: Output, lines: Iterable<string>): Promise<void> {
  const text = [...lines].map((line) => `${line}\n`).join('')
  if (text === '' || output.write(text)) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      output.removeListener('drain', done)
      output.removeListener('close', done)
      resolve()
    }
    output.once('drain', done)
    output.once('close', done)
  })
}
