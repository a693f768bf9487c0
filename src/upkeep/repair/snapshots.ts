import { sha256 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { MANIFEST_FILE, prefixOfSnapshotKey, snapshotPrefix } from '../../format/keys.ts'
import { decodeManifest, type Manifest, type SnapshotFile } from '../../format/manifest.ts'
import type { SnapshotEntry } from '../../model/timeline.ts'
import type { Inspection } from '../verify/inspection.ts'
import type { Listing } from '../verify/snapshots.ts'

/** The prefixes of snapshots that have a manifest, whether or not a timeline names them. */
export function prefixesIn(listing: Listing): string[] {
  return [...listing.keys()]
    .filter((key) => key.endsWith(`/${MANIFEST_FILE}`))
    .flatMap((key) => prefixOfSnapshotKey(key) ?? [])
}

/** Reads every file of a snapshot that no timeline names; null where one is missing or damaged. Errors: those of the store. */
export async function readFoundSnapshot(
  inspection: Inspection,
  prefix: string,
  listing: Listing,
): Promise<SnapshotEntry | null> {
  const key = `${prefix}${MANIFEST_FILE}`
  try {
    const bytes = await inspection.read(key)
    const manifest = decodeManifest(bytes, key)
    const { ulid, consistentFrom, except } = manifest
    if (!prefix.startsWith(snapshotPrefix(ulid).slice(0, -1)) || consistentFrom < ulid) return null
    await expectFiles(inspection, manifest, prefix, listing)
    const sizes = filesOf(manifest).reduce((sum, file) => sum + file.bytes, bytes.length)
    const records = manifest.resources.reduce((sum, resource) => sum + (resource.records?.records ?? 0), 0)
    const holes = except === undefined ? {} : { except }
    return { ulid, consistentFrom, prefix, records, bytes: sizes, manifestSha256: sha256(bytes), ...holes }
  } catch (error) {
    if (error instanceof TidemarkError && error.category === 'corrupt') return null
    throw error
  }
}

/** Reads every file of a snapshot of the timeline. Errors: `SNAPSHOT_CORRUPT`, `OBJECT_CORRUPT`, and those of the store. */
export async function expectSnapshot(
  inspection: Inspection,
  { prefix, manifestSha256 }: SnapshotEntry,
  listing: Listing,
): Promise<void> {
  const key = `${prefix}${MANIFEST_FILE}`
  await inspection.expectHash(key, listing.get(key), manifestSha256)
  await expectFiles(inspection, decodeManifest(await inspection.read(key), key), prefix, listing)
}

async function expectFiles(
  inspection: Inspection,
  manifest: Manifest,
  prefix: string,
  listing: Listing,
): Promise<void> {
  for (const { file, sha256: expected } of filesOf(manifest)) {
    await inspection.expectHash(`${prefix}${file}`, listing.get(`${prefix}${file}`), expected)
  }
}

function filesOf({ objects, resources }: Manifest): readonly SnapshotFile[] {
  const files = [objects, ...resources.flatMap((resource) => [resource.objects, resource.records])]
  return files.filter((file): file is SnapshotFile => file !== null)
}
