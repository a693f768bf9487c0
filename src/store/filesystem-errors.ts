import { messageOf, TidemarkError } from '../base/errors.ts'

/** EDQUOT on Linux, which libuv has no name for. */
const QUOTA_ERRNO = -122

/** How a file system says that it has no hard links. */
export const NO_LINKS: readonly string[] = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EINVAL']

/** The errno name of a Node file error (`ENOENT`), or '' where it is none. */
export function errnoOf(error: unknown): string {
  if (error instanceof Error && 'errno' in error && error.errno === QUOTA_ERRNO) return 'EDQUOT'
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/**
 * What a failed file call means; an error that no file call raised (a stream's own) is passed on as it is.
 * `path` is the file or directory, `did` what was tried: 'write', 'read'.
 */
export function fileError(error: unknown, path: string, did: string): unknown {
  const errno = errnoOf(error)
  if (error instanceof TidemarkError || errno === '') return error
  const options = { cause: error, details: { path, errno } }
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TidemarkError('STORE_FULL', `Could not ${did} '${path}': no space is left. Nothing was stored.`, {
        ...options,
        hint: 'Free space or raise the quota there, then try again: df -h shows what is full.',
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new TidemarkError('STORE_DENIED', `Could not ${did} '${path}': permission denied (${errno}).`, {
        ...options,
        hint: 'Give this user read and write permission on the directory of the store, on a writable file system.',
      })
    case 'ELOOP':
      return linkRefused(path)
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
    case 'ENODEV':
    case 'ENXIO':
      return new TidemarkError(
        'STORE_NOT_FOUND',
        `Could not ${did} '${path}': there is no such directory (${errno}).`,
        {
          ...options,
          hint: 'Check the path of the store: it must be a directory, or a path where one can be made.',
        },
      )
    default:
      return new TidemarkError('STORE_UNAVAILABLE', `Could not ${did} '${path}': ${messageOf(error)}`, {
        ...options,
        hint: 'Look at the disk: dmesg | tail. A process that captures tries again by itself.',
      })
  }
}

/** A link inside a store could lead out of it, so none is followed, and none is passed over in silence. */
export function linkRefused(path: string): TidemarkError {
  return new TidemarkError('STORE_DENIED', `'${path}' is a symbolic link, and links inside a store are not followed.`, {
    hint: 'Put the file or directory itself in its place.',
    details: { path },
  })
}

/** A new name that exactly one of several processes gets is made by a hard link; nothing else is as safe. */
export function linksUnsupported(root: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    'STORE_UNSUPPORTED',
    `The file system of '${root}' has no hard links (${errnoOf(cause)}), so two writers could overwrite each other. Nothing was stored.`,
    {
      hint: 'Put the store on a file system with hard links (ext4, xfs, btrfs, zfs, NFS), or into an object store; not on FAT or such a share.',
      cause,
      details: { path: root, errno: errnoOf(cause) },
    },
  )
}
