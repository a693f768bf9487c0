import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { bytesText, countText, pairs, timeText } from './format.ts'
import { writeLines } from './terminal.ts'

/** `tidemark snapshot`: makes a snapshot of the last reachable moment from history, without touching the database. */
export async function snapshotCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const entry = await tidemark.snapshot()
    const lines = options.json
      ? [JSON.stringify({ time: timeText(entry.consistentFrom), ...entry })]
      : [
          ...pairs([
            ['snapshot', entry.ulid],
            ['moment', timeText(entry.consistentFrom)],
            ['records', countText(entry.records)],
            ['size', bytesText(entry.bytes)],
            ['files', entry.prefix],
          ]),
          `next: tidemark verify${storeArgument(options)}`,
        ]
    await writeLines(around.terminal.out, lines)
  })
}
