import { type Change, type Context, type Event, type Image, KINDS, type Kind, OPERATIONS } from '../../model/event.ts'
import type { RowGroup } from './row-group.ts'
import { COLUMNS, type ColumnName } from './schema.ts'
import type { ByteValues, CodedValues } from './values.ts'

/** The columns that `eventsOf` needs: all but the time, which the ULID has. */
export const EVENT_COLUMNS: readonly ColumnName[] = COLUMNS.map(({ name }) => name).filter((name) => name !== 'time')

/**
 * The events of the rows `[from, to)`, with before-images that were elided put back. Images are views into the row
 * group. Errors: `SEGMENT_CORRUPT` where the columns contradict each other.
 */
export function* eventsOf(rowGroup: RowGroup, from = 0, to: number = rowGroup.rows): Generator<Event> {
  const [ulid, id, transaction] = [rowGroup.bytes('ulid'), rowGroup.bytes('record_id'), rowGroup.bytes('transaction')]
  const [stream, kind, resource] = [rowGroup.codes('stream'), rowGroup.codes('kind'), rowGroup.codes('resource')]
  const [operation, actor] = [rowGroup.codes('operation'), rowGroup.codes('actor')]
  const metadata = rowGroup.bytes('metadata')
  const sequence = rowGroup.numbers('sequence')
  for (let row = from; row < to; row++) {
    const context = { actor: coded(actor, row), transaction: transaction.text(row), metadata: metadata.text(row) }
    if ((sequence[row] ?? 0) < 1) throw rowGroup.corrupt('it has an event without a sequence')
    const item = {
      kind: kindOf(rowGroup, coded(kind, row)),
      resource: coded(resource, row) ?? '',
      id: id.text(row) ?? '',
    }
    yield {
      ...changeOf(rowGroup, row, coded(operation, row), { ...item, context }),
      stamp: { ulid: ulid.text(row) ?? '', stream: coded(stream, row) ?? '', sequence: sequence[row] ?? 0 },
    }
  }
}

type About = { readonly context: Context; readonly kind: Kind; readonly resource: string; readonly id: string }

function changeOf(rowGroup: RowGroup, row: number, name: string | null, about: About): Change {
  const operation = OPERATIONS.find((known) => known === name)
  const before = beforeImage(rowGroup, row)
  const after = image(rowGroup, row, rowGroup.bytes('after'), rowGroup.bytes('after_raw'))
  if (operation === 'insert' && before === null && after !== null) return { ...about, operation, before, after }
  if (operation === 'update' && before !== null && after !== null) return { ...about, operation, before, after }
  if (operation === 'delete' && before !== null && after === null) return { ...about, operation, before, after }
  throw rowGroup.corrupt(`row ${row} of a row group is a ${name} with the wrong images`)
}

/** The state before the event of a row: its own columns, or the after-image of the row above where it was elided. */
function beforeImage(rowGroup: RowGroup, row: number): Image | null {
  if (rowGroup.flags('before_elided')[row] !== 1) {
    return image(rowGroup, row, rowGroup.bytes('before'), rowGroup.bytes('before_raw'))
  }
  if (row === 0) throw rowGroup.corrupt('a row group starts with an elided image')
  return image(rowGroup, row - 1, rowGroup.bytes('after'), rowGroup.bytes('after_raw'))
}

function image(rowGroup: RowGroup, row: number, jsons: ByteValues, raws: ByteValues): Image | null {
  const json = jsons.bytes(row)
  const raw = raws.bytes(row)
  if (json !== null) return { json, raw }
  if (raw !== null) throw rowGroup.corrupt(`row ${row} of a row group has half an image`)
  return null
}

function coded({ codes, values }: CodedValues, row: number): string | null {
  return values[codes[row] ?? -1] ?? null
}

function kindOf(rowGroup: RowGroup, name: string | null): Kind {
  const kind = KINDS.find((known) => known === name)
  if (kind === undefined) throw rowGroup.corrupt(`it has an item of an unknown kind`)
  return kind
}
