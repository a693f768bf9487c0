import type { TakenSnapshot } from '../upkeep/snapshot.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { bytesText, countText, pairs, plural, timeText } from './format.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark snapshot`. */
export interface SnapshotCommandOptions extends CommonOptions {
  readonly at?: string
}

/** `tidemark snapshot`: makes a snapshot of a moment from history, without touching the database. */
export async function snapshotCommand(options: SnapshotCommandOptions, around: Surroundings): Promise<void> {
  await withStore(options, around, async (tidemark) => {
    const taken = await tidemark.snapshot(options.at === undefined ? {} : { at: options.at })
    const lines = options.json
      ? [JSON.stringify({ time: timeText(taken.consistentFrom), ...taken })]
      : [...snapshotLines(taken), `next: tidemark verify${storeArgument(options)}`]
    await writeLines(around.terminal.out, lines)
  })
}

function snapshotLines({ ulid, consistentFrom, records, bytes, prefix, ...made }: TakenSnapshot): string[] {
  const parts = ({ members, bytes }: TakenSnapshot['carried']): string =>
    `${plural(members, 'part')} of files, ${bytesText(bytes)}`
  return [
    ...pairs([
      ['snapshot', ulid],
      ['moment', timeText(consistentFrom)],
      ['records', countText(records)],
      ['size', bytesText(bytes)],
      ['files', prefix],
      ...(made.isNew
        ? ([
            ['carried over', parts(made.carried)],
            ['written', parts(made.written)],
          ] as const)
        : []),
    ]),
    ...(made.isNew ? [] : ['It was there already, and nothing happened since: nothing was written.']),
  ]
}
