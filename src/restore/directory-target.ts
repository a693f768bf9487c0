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
  /** Removes `next`, where it has not taken the place. */
  discard(): Promise<void>
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
    scan: (selection) => scanDirectory(name, stores.current, selection),
    write: (differences) => writer.add(differences.map(stateOf)),
    finish: async () => {
      await writer.finish()
      await stores.swap()
    },
    close: async () => {
      await writer.close()
      await stores.discard()
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

async function* scanDirectory(
  name: string,
  store: ObjectStore,
  selection: Selection,
): AsyncGenerator<readonly ItemState[]> {
  const isSnapshot = (await store.head(MANIFEST_FILE)) !== null
  if (!isSnapshot) return refuseOtherFiles(name, store, [])
  // Before the manifest is read: that of a live database has the same name, and is no damaged snapshot.
  await refuseOtherFiles(name, store, [MANIFEST_FILE], FILE_OF_SNAPSHOT)
  const reader = await SnapshotReader.open(store, '', null)
  const { objects, resources } = reader.manifest
  const files = [objects, ...resources.flatMap((resource) => [resource.records, resource.objects])]
  await refuseOtherFiles(name, store, [MANIFEST_FILE, ...files.flatMap((file) => file?.file ?? [])])
  for await (const { kind, resource, lines } of reader.lines(selection)) {
    yield lines.map((line) => ({ kind, resource, id: text(line.id), image: line.image() }))
  }
}

const FILE_OF_SNAPSHOT = /^[^/]+\.jsonl\.gz$/

/** The directory is replaced as a whole, so nothing may be in it but what a restore put there. */
async function refuseOtherFiles(
  name: string,
  store: ObjectStore,
  known: readonly string[],
  pattern: RegExp | null = null,
): Promise<void> {
  for await (const { key } of store.list('')) {
    if (known.includes(key) || pattern?.test(key) === true) continue
    throw new TidemarkError(
      'TARGET_INVALID',
      `${name} holds ${key}, which is no restored state. Nothing was changed.`,
      {
        hint: 'A restore takes the place of the whole directory: give an empty or a new one.',
        details: { target: name, file: key },
      },
    )
  }
}
