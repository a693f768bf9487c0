import { TidemarkError } from '../base/errors.ts'
import { type Item, KINDS } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { ItemState, Selection, Target } from './target.ts'

/**
 * What a target holds. Errors: `TARGET_INVALID` where its adapter gives no states, or not in the order of `compareItems`: what
 * is compared with them would be taken for missing.
 */
export async function* scanned(target: Target, selection: Selection): AsyncGenerator<readonly ItemState[]> {
  let last: Item | null = null
  for await (const batch of target.scan(selection)) {
    if (!Array.isArray(batch)) throw badScan(target, 'something that is no list of states')
    for (const state of batch) {
      if (!isState(state)) throw badScan(target, 'something that is no state of an item')
      const { kind, resource, id } = state
      if (last !== null && compareItems(last, state) >= 0) {
        throw badScan(target, `${kind} ${resource}/${id} behind ${last.kind} ${last.resource}/${last.id}`)
      }
      last = { kind, resource, id } // its image may be large
    }
    yield batch
  }
}

function isState(value: unknown): value is ItemState {
  const { kind, resource, id, image }: { readonly [K in keyof ItemState]?: unknown } = Object(value)
  const isItem = KINDS.some((known) => known === kind) && typeof resource === 'string' && typeof id === 'string'
  return isItem && Reflect.get(Object(image), 'json') instanceof Uint8Array
}

function badScan({ name }: Target, what: string): TidemarkError {
  return new TidemarkError(
    'TARGET_INVALID',
    `The adapter of ${name} gave ${what}. What came after it was not restored.`,
    {
      hint: 'This is a defect of the adapter: scan() gives each item once, in the order of compareItems().',
      details: { target: name },
    },
  )
}
