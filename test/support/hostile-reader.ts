/**
 * Reads a store that somebody else may have written: node --max-old-space-size=256 test/support/hostile-reader.ts
 * <directory> <where to restore to>. Prints as JSON how each way to read it ended, and how much memory it all took.
 */
import { Tidemark } from '../../src/index.ts'

const [directory = '', target = ''] = process.argv.slice(2)

/** The code of the error, and what is blamed; 'UNEXPECTED' and what it says for an error that nobody raised on purpose. */
async function outcome(act: () => Promise<string>): Promise<string> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof Error && 'code' in error && 'retriable' in error) return String(error.code)
    return `UNEXPECTED ${error}`
  }
}

async function opened(act: (tidemark: Tidemark) => Promise<string>): Promise<string> {
  const tidemark = await Tidemark.open({ store: `file:${directory}` })
  try {
    return await act(tidemark)
  } finally {
    await tidemark.close()
  }
}

const verify = await outcome(() =>
  opened(async (tidemark) => {
    const { damage } = await tidemark.verify()
    return damage.length === 0 ? 'whole' : 'damage found'
  }),
)
const restore = await outcome(() =>
  opened(async (tidemark) => {
    await tidemark.restoreAt('latest', { target: `file:${target}` })
    return 'restored'
  }),
)
const rssMiB = process.resourceUsage().maxRSS / 1024
process.stdout.write(JSON.stringify({ verify, restore, rssMiB }))
process.exit()
