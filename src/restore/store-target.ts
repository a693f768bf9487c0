import { TidemarkError } from '../base/errors.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { SnapshotWriter } from './snapshot-writer.ts'
import type { ItemState, Target } from './target.ts'

/** An empty store that is filled in the snapshot layout: what a drill restores into and reads back. */
export function storeTarget(name: string, store: ObjectStore, ulid: Ulid, database: string): Target {
  const writer = new SnapshotWriter({ store, prefix: '', ulid, database })
  return {
    name,
    takes: 'states',
    scan: async function* () {},
    write: (differences) =>
      writer.add(
        differences.map(({ kind, resource, id, after }): ItemState => {
          if (after !== null) return { kind, resource, id, image: after }
          throw new TidemarkError(
            'TARGET_INVALID',
            `${name} was told to remove ${resource}/${id}, which it never holds.`,
            {
              hint: 'This is a defect of Tidemark: please report it.',
            },
          )
        }),
      ),
    finish: async () => {
      await writer.finish()
    },
    close: () => writer.close(),
  }
}
