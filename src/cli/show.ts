import { TidemarkError } from '../base/errors.ts'
import { didYouMean } from '../base/nearest.ts'
import { parseRecordName } from './arguments.ts'
import { type CommonOptions, type Surroundings, storeArgument, withStore } from './command.ts'
import { writeLines } from './terminal.ts'

/** The options of `tidemark show`. */
export interface ShowOptions extends CommonOptions {
  readonly at: string
  readonly resource?: string
}

/** `tidemark show <resource>/<id> --at <moment>`: one record as it was. Errors: `RECORD_NOT_FOUND`. */
export async function showCommand(argument: string, options: ShowOptions, around: Surroundings): Promise<void> {
  const { resource, id } = parseRecordName(argument, options.resource)
  await withStore(options, around, async (tidemark) => {
    const view = tidemark.at(options.at)
    const record = await view.get(resource, id)
    if (record === null) throw noRecord(resource, id, options, await view.near(resource, id))
    await writeLines(around.terminal.out, [JSON.stringify(record, null, options.json ? 0 : 2)])
  })
}

function noRecord(resource: string, id: string, options: ShowOptions, near: readonly string[]): TidemarkError {
  const when = options.at === 'latest' ? 'at the last reachable moment' : `at ${options.at}`
  return new TidemarkError('RECORD_NOT_FOUND', `There was no record ${id} of resource ${resource} ${when}.`, {
    hint: `${didYouMean(near)}See when it existed: tidemark log${options.resource === undefined ? ` ${resource}/${id}` : ` --resource ${resource} ${id}`}${storeArgument(options)}`,
    details: { resource, id },
  })
}
