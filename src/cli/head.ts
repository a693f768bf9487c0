import { formatHead } from '../model/head.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { writeLines } from './terminal.ts'

/** `tidemark head`: what to note elsewhere, so that `verify --head` can tell whether history was rolled back or rewritten. */
export async function headCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  const { out, err } = around.terminal
  const head = await withStore(options, around, (tidemark) => tidemark.head())
  await writeLines(out, [options.json ? JSON.stringify({ head: formatHead(head), ...head }) : formatHead(head)])
  if (options.json || !out.isTTY) return
  await writeLines(err, [
    `Note it where whoever can write to the store cannot. Later: tidemark verify --head ${formatHead(head)}${storeArgument(options)}`,
  ])
}
