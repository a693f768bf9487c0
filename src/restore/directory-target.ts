import { text } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { isUnfinished, MANIFEST_FILE } from '../format/keys.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { LEVELS } from './members.ts'
import { SnapshotReader } from './snapshot-reader.ts'
import { SnapshotWriter } from './snapshot-writer.ts'
import type { Difference, ItemState, Selection, Target } from './target.ts'

/** A directory that is filled where it stands. */
export interface DirectoryPlace {
  readonly store: ObjectStore
  /** The names in it, those of directories with a slash behind them. */
  names(): Promise<readonly string[]>
  /** Called before the first file is written. */
  begin(): Promise<void>
  /** Gives each file a second name, in the place of whatever has it; durable when it resolves. */
  alias(names: ReadonlyMap<string, string>): Promise<void>
  /** Removes what writing needed, and the directory where it is new and nothing is in it. */
  end(): Promise<void>
}

/** What is restored, and under which names it is written. */
export interface DirectoryContent {
  readonly moment: Ulid
  readonly database: string
  /** In front of the names of files until the restore is complete: `unfinishedPrefix` with a nonce of its own. */
  readonly prefix: string
}

/**
 * A directory in the snapshot layout. The new state is written beside the old one, under names of its own, and takes
 * its place with the manifest, which is one file that is replaced at once: whenever the power goes, the directory holds
 * the old state or the new one as a whole. Then the files get their plain names, again without a moment between: second
 * names first, then the manifest that says them, then the first names go.
 */
export function directoryTarget(
  name: string,
  place: DirectoryPlace,
  { moment, database, prefix }: DirectoryContent,
): Target {
  const { store } = place
  const writer = new SnapshotWriter({ store, prefix, ulid: moment, database, level: LEVELS.waitedFor })
  let begun: Promise<void> | null = null
  let isPlaced = false
  const begin = (): Promise<void> => {
    begun ??= place.begin()
    return begun
  }
  return {
    name,
    takes: 'states',
    scan: (selection) => scanDirectory(name, place, selection),
    write: async (differences) => {
      await begin()
      await writer.add(differences.map(stateOf))
    },
    finish: async () => {
      await begin()
      await writer.complete()
      const names = new Map(writer.files.map((file) => [`${prefix}${file}`, file]))
      const { files } = await contentOf(name, place)
      requireAll(name, files, names)
      isPlaced = true
      await store.put(MANIFEST_FILE, writer.manifest(prefix))
      await store.delete(files.filter((file) => file !== MANIFEST_FILE && !names.has(file)))
      await place.alias(names)
      await store.put(MANIFEST_FILE, writer.manifest(''))
      await store.delete([...names.keys()])
    },
    close: async () => {
      await writer.close()
      if (begun === null) return
      // What the manifest may name already is the restored state, whatever failed behind it.
      if (!isPlaced) await store.delete((await place.names()).filter((file) => file.startsWith(prefix)))
      await place.end()
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
  place: DirectoryPlace,
  selection: Selection,
): AsyncGenerator<readonly ItemState[]> {
  const { reader } = await contentOf(name, place)
  if (reader === null) return
  for await (const { kind, resource, lines } of reader.lines(selection)) {
    yield Array.from(lines, (line) => ({ kind, resource, id: text(line.id), image: line.image() }))
  }
}

const FILE_OF_SNAPSHOT = /^[^/]+\.jsonl\.gz$/

/**
 * What stands in the directory: a restored state, and what restores that were broken off left beside it. It is replaced
 * as a whole, so nothing else may be in it.
 */
async function contentOf(
  name: string,
  place: DirectoryPlace,
): Promise<{ readonly reader: SnapshotReader | null; readonly files: readonly string[] }> {
  const files = await place.names()
  const isRestored = files.includes(MANIFEST_FILE)
  // Before the manifest is read: that of a live database has the same name, and is no damaged snapshot.
  refuseOthers(name, files, (file) => isUnfinished(file) || (isRestored && FILE_OF_SNAPSHOT.test(file)))
  if (!isRestored) return { reader: null, files }
  const reader = await SnapshotReader.open(place.store, '', null)
  const named = new Set(reader.keys())
  // Broken off between the two manifests: what was replaced may still be there, and nothing else was.
  const isReplacing = [...named].some(isUnfinished)
  refuseOthers(name, files, (file) => isReplacing || isUnfinished(file) || named.has(file))
  return { reader, files }
}

function refuseOthers(name: string, files: readonly string[], isKnown: (file: string) => boolean): void {
  const other = files.find((file) => file !== MANIFEST_FILE && !isKnown(file))
  if (other === undefined) return
  throw new TidemarkError(
    'TARGET_INVALID',
    `${name} holds ${other}, which is no restored state. Nothing was changed.`,
    {
      hint: 'A restore takes the place of the whole directory: give an empty or a new one.',
      details: { target: name, file: other },
    },
  )
}

/** Another restore into the same directory takes what is not finished for a leftover when it ends. */
function requireAll(name: string, files: readonly string[], names: ReadonlyMap<string, string>): void {
  const there = new Set(files)
  const missing = [...names.keys()].find((file) => !there.has(file))
  if (missing === undefined) return
  throw new TidemarkError(
    'TARGET_INVALID',
    `Another restore into ${name} ended meanwhile; it has what that one restored.`,
    { hint: 'Restore into a directory of its own, or again with --yes.', details: { target: name, file: missing } },
  )
}
