import { text } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { MANIFEST_FILE } from '../format/keys.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { SnapshotReader } from './snapshot-reader.ts'
import { SnapshotWriter } from './snapshot-writer.ts'
import type { Difference, ItemState, Selection, Target } from './target.ts'

/** The two stores a directory needs: what stands there now, and where the new one is built beside it. */
export interface DirectoryStores {
  readonly current: ObjectStore
  readonly next: ObjectStore
  /** Puts `next` in the place of `current` at once; what stood there is gone afterwards. */
  swap(): Promise<void>
}

/**
 * A directory in the snapshot layout. The new state is built beside it and takes its place only when it is complete,
 * so that there is never half a restore under the name that was asked for.
 */
export function directoryTarget(name: string, stores: DirectoryStores, moment: Ulid, database: string): Target {
  const writer = new SnapshotWriter({ store: stores.next, prefix: '', ulid: moment, database })
  return {
    name,
    takes: 'states',
    scan: (selection) => scanDirectory(stores.current, selection),
    write: (differences) => writer.add(differences.map(stateOf)),
    finish: async () => {
      await writer.finish()
      await stores.swap()
    },
  }
}

function stateOf({ kind, resource, id, after }: Difference): ItemState {
  if (after === null) {
    throw new TidemarkError(
      'TARGET_INVALID',
      `A directory was told to remove ${resource}/${id}, which it never holds.`,
      {
        hint: 'This is a defect of Tidemark: please report it.',
      },
    )
  }
  return { kind, resource, id, image: after }
}

async function* scanDirectory(store: ObjectStore, selection: Selection): AsyncGenerator<readonly ItemState[]> {
  if ((await store.head(MANIFEST_FILE)) === null) return
  const reader = await SnapshotReader.open(store, '', null)
  for await (const { kind, resource, lines } of reader.lines(selection)) {
    yield lines.map((line) => ({ kind, resource, id: text(line.id), image: line.image() }))
  }
}
