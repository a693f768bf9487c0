import { decryptStore } from '../engine/decrypt.ts'
import { type CommonOptions, type Surroundings, shellQuoted, storeOf } from './command.ts'
import { bytesText, countText, pairs } from './format.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark decrypt`. */
export interface DecryptCommandOptions extends CommonOptions {
  readonly target: string
}

/** `tidemark decrypt --target <dir>`: an encrypted store as one without encryption, for other tools to read. */
export async function decryptCommand(options: DecryptCommandOptions, around: Surroundings): Promise<void> {
  const { terminal } = around
  const done = await decryptStore(await storeOf(options, around), options.target, terminal.environment)
  const lines = options.json
    ? [JSON.stringify(done)]
    : [
        ...pairs([
          ['decrypted', `${countText(done.files)} files, ${bytesText(done.bytes)}`],
          ['to', done.target],
        ]),
        'The directory holds everything in the clear now. Without a key in the environment:',
        `  tidemark status --store ${shellQuoted(options.target)}`,
      ]
  await writeLines(terminal.out, lines)
}
