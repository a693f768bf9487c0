import { createInterface } from 'node:readline/promises'
import { painter, type Terminal } from './terminal.ts'

/** Asks on a terminal; where there is nobody to ask, the answer is no. */
export async function confirmed(question: string, terminal: Terminal): Promise<boolean> {
  const { input, err } = terminal
  if (input.isTTY !== true || err.isTTY !== true) return false
  const lines = createInterface({ input, output: err })
  try {
    const answer = await lines.question(`${painter(err, terminal)('bold', question)} Type yes: `)
    return answer.trim().toLowerCase() === 'yes'
  } finally {
    lines.close()
  }
}
