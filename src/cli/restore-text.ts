import type { Conflicts } from '../engine/conflicts.ts'
import type { RestoreResult } from '../engine/restore.ts'
import type { Item } from '../model/event.ts'
import type { Plan } from '../restore/plan.ts'
import type { Preview, PreviewCounts, Sample } from '../restore/preview.ts'
import { changedFields, fieldText } from './fields.ts'
import { bytesText, countText, pairs, plural, printable, shortened, table, timeText } from './format.ts'
import type { Paint } from './terminal.ts'
import { gapLines } from './verdict-text.ts'

/** What a restore did, or would do, for people: the plan, the preview with samples, what is true now, and how it is taken back. */
export function resultLines(result: RestoreResult, paint: Paint, takeBack: readonly string[] = []): string[] {
  const { moment, target, plan, preview, written, unreadable, conflicts, unfit } = result
  return [
    ...pairs([
      ['moment', moment === timeText(plan.moment) ? moment : `${moment} (${timeText(plan.moment)})`],
      ['target', printable(target)],
      ...planEntries(plan),
    ]),
    ...exceptLines(plan, paint),
    '',
    ...previewLines(preview, paint),
    ...unreadableLines(unreadable, paint),
    ...conflictLines(conflicts, paint),
    ...(unfit.length === 0
      ? []
      : [`${paint('yellow', 'no place in the schema of the target')}: ${printable(unfit.join(', '))}`]),
    '',
    written
      ? `${paint('green', 'restored')}: ${changeText(preview)}; ${countText(preview.unchanged)} were the same already.`
      : `${paint('yellow', 'nothing was written')}: this is what the restore would do.`,
    ...takeBack,
  ]
}

/** A plan as names and values. */
function planEntries({ snapshot, segments, bytes, rows }: Plan): [string, string][] {
  return [
    ['snapshot', `${snapshot.ulid} of ${timeText(snapshot.consistentFrom)}, ${plural(snapshot.records, 'record')}`],
    ['segments', countText(segments.length)],
    ['to read', `${bytesText(bytes)}, ${plural(rows, 'row')}`],
  ]
}

/** What the state lacks, in so many words: nobody should take it for whole. */
function exceptLines({ except }: Plan, paint: Paint): string[] {
  if (except.length === 0) return []
  return [paint('yellow', 'without what is missing:'), ...except.flatMap(gapLines)]
}

const ITEMS_SHOWN = 5

/** What could not be read in the database at the moment: a live target keeps what it has there. */
function unreadableLines(items: readonly Item[], paint: Paint): string[] {
  if (items.length === 0) return []
  const head =
    'damaged in the database at this moment, so that there is nothing to put back (an earlier moment has it):'
  return [paint('yellow', head), ...itemLines(items, items.length)]
}

/** What others have written since the restore began. */
function conflictLines({ outcome, count, items }: Conflicts, paint: Paint): string[] {
  if (count === 0) return []
  const head = `written by others since the restore began, and ${outcome} (\`tidemark log\` has it, --json names all up to 1,000):`
  return [paint('yellow', head), ...itemLines(items, count)]
}

function itemLines(items: readonly Item[], count: number): string[] {
  const names = items.slice(0, ITEMS_SHOWN).map((item) => `  ${printable(shortened(itemText(item), ID_LENGTH))}`)
  return count > names.length ? [...names, `  and ${countText(count - names.length)} more`] : names
}

/** The counts by resource, then field differences of the first records. */
export function previewLines(preview: Preview, paint: Paint): string[] {
  const rows = [...preview.resources].map(([resource, counts]) =>
    countCells(resource === '' ? '(database)' : printable(resource), counts),
  )
  const lines = table(['preview', 'added', 'changed', 'removed', 'newer'], [...rows, countCells('total', preview)])
  lines.push(`${countText(preview.unchanged)} unchanged`)
  if (preview.newer > 0) {
    lines.push(
      paint(
        'yellow',
        `newer: ${countText(preview.newer)} of them were written after the moment, and go back to what they were`,
      ),
    )
  }
  for (const sample of preview.samples) lines.push(...sampleLines(sample, paint))
  return lines
}

function countCells(name: string, { added, changed, removed, newer }: PreviewCounts): string[] {
  return [name, ...[added, changed, removed, newer].map(countText)]
}

const FIELDS = 4
const ID_LENGTH = 60
const SIGNS = { insert: ['+', 'green'], update: ['~', 'yellow'], delete: ['-', 'red'] } as const

/** One difference: its name, and of an update the fields that change, the first `most`. */
export function sampleLines(
  { kind, resource, id, operation, before, after }: Sample,
  paint: Paint,
  most: number = FIELDS,
): string[] {
  const [sign, style] = SIGNS[operation]
  const head = paint(style, `  ${sign} ${printable(shortened(itemText({ kind, resource, id }), ID_LENGTH))}`)
  if (operation !== 'update') return [head]
  const fields = changedFields(before, after)
  const more = fields.length > most ? [`      and ${plural(fields.length - most, 'field')} more`] : []
  return [head, ...fields.slice(0, most).map((change) => `      ${fieldText(change)}`), ...more]
}

function itemText({ kind, resource, id }: Item): string {
  return kind === 'schema' ? `schema of ${resource === '' ? 'the database' : resource}` : `${resource}/${id}`
}

function changeText({ added, changed, removed }: PreviewCounts): string {
  return `${countText(added)} added, ${countText(changed)} changed, ${countText(removed)} removed`
}

/** The same as one line of JSON; resources as a list, since a name may be anything. */
export function resultJson({ plan, preview, ...result }: RestoreResult): string {
  const { resources, samples, ...counts } = preview
  return JSON.stringify({
    ...result,
    plan: {
      ...plan,
      segments: plan.segments.map(({ key, events, bytes }) => ({ key, events, bytes })),
      time: timeText(plan.moment),
    },
    preview: {
      ...counts,
      resources: [...resources].map(([resource, sums]) => ({ resource, ...sums })),
      samples: samples.map(sampleValue),
    },
  })
}

/** One difference as one line of JSON. */
export function sampleJson(sample: Sample): string {
  return JSON.stringify(sampleValue(sample))
}

function sampleValue({ before, after, ...sample }: Sample): object {
  return { ...sample, before: parsed(before), after: parsed(after) }
}

function parsed(json: string | null): unknown {
  return json === null ? null : JSON.parse(json)
}
