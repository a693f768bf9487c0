import { TidemarkError } from '../base/errors.ts'
import { didYouMean } from '../base/nearest.ts'
import type { Tidemark } from '../engine/tidemark.ts'
import type { Context, Event, Image } from '../model/event.ts'
import { foundInterval } from '../model/found.ts'
import { parseRecordName, type RecordName } from './arguments.ts'
import { type CommonOptions, type Surroundings, withStore } from './command.ts'
import { changedFields, fieldText } from './fields.ts'
import { printable, timeText } from './format.ts'
import { type Paint, painter, writeLines } from './terminal.ts'

/** The options of `tidemark log`. */
export interface LogOptions extends CommonOptions {
  readonly resource?: string
}

/** `tidemark log <resource>/<id>`: every event of a record, oldest first. Errors: `RECORD_NOT_FOUND`. */
export async function logCommand(argument: string, options: LogOptions, around: Surroundings): Promise<void> {
  const name = parseRecordName(argument, options.resource)
  const { out, err } = around.terminal
  const paint = painter(out, around.terminal)
  await withStore(options, around, async (tidemark) => {
    let events = 0
    for await (const event of tidemark.history(name.resource, name.id)) {
      await writeLines(
        out,
        options.json ? [jsonOf(event)] : [...(events === 0 ? [] : ['']), ...eventLines(event, paint)],
      )
      events++
    }
    const gone = (await tidemark.retention.pruned()).at(-1)
    if (gone !== undefined && !options.json)
      await writeLines(err, [`Events up to ${gone.interval.to} were pruned in part (${gone.by}) and are not shown.`])
    if (events > 0) return
    await requireRecord(tidemark, name)
    if (!options.json) await writeLines(err, ['No events: the record is as the first snapshot has it.'])
  })
}

async function requireRecord(tidemark: Tidemark, { resource, id }: RecordName): Promise<void> {
  const view = tidemark.at('latest')
  if ((await view.get(resource, id)) !== null) return
  const near = didYouMean(await view.near(resource, id))
  throw new TidemarkError('RECORD_NOT_FOUND', `The history knows no record ${id} of resource ${resource}.`, {
    hint: `${near}Check the name: it is split at the first slash, and upper and lower case differ; --resource <name> <id> where the resource has a slash.`,
    details: { resource, id },
  })
}

/** An event for people: when, which, what, who, and the fields that it changed. */
export function eventLines({ stamp, operation, context, before, after }: Event, paint: Paint): string[] {
  const { actor, transaction, metadata } = context
  const facts = [
    actor === null ? '' : `by ${printable(actor)}`,
    transaction === null ? '' : `tx ${printable(transaction)}`,
    metadata === null ? '' : (foundText(context) ?? printable(metadata)),
  ].filter((fact) => fact !== '')
  const styles = { insert: 'green', update: 'yellow', delete: 'red' } as const
  const head = [timeText(stamp.ulid), paint('cyan', stamp.ulid), paint(styles[operation], operation), ...facts].join(
    '  ',
  )
  const fields = changedFields(jsonText(before), operation === 'delete' ? null : jsonText(after))
  const shown =
    operation === 'delete' ? fields.map((change) => ({ ...change, after: change.before, before: undefined })) : fields
  return [head, ...shown.map((change) => `    ${fieldText(change)}`)]
}

/** For an event that nobody saw happen. */
function foundText(context: Context): string | null {
  const interval = foundInterval(context)
  if (interval === null) return null
  return `found: it was not captured, and happened between ${timeText(interval.after)} and ${timeText(interval.before)}`
}

function jsonText(image: Image | null): string | null {
  return image === null ? null : Buffer.from(image.json).toString('utf8')
}

function jsonOf({ stamp, kind, resource, id, operation, context, before, after }: Event): string {
  const value = (image: Image | null): unknown => (image === null ? null : JSON.parse(jsonText(image) ?? 'null'))
  return JSON.stringify({
    time: timeText(stamp.ulid),
    ...stamp,
    kind,
    resource,
    id,
    operation,
    actor: context.actor,
    transaction: context.transaction,
    metadata: context.metadata === null ? null : JSON.parse(context.metadata),
    before: value(before),
    after: value(after),
  })
}
