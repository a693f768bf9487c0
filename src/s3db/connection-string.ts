/** Whether a target is a connection string of s3db.js and not a directory: `scheme://`. Loads nothing of s3db.js. */
export function isConnectionString(target: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(target)
}
