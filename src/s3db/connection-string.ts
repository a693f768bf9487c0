/** What connection strings of s3db.js begin with that Tidemark takes. */
export const S3DB_SCHEMES: readonly string[] = ['file', 'http', 'https', 'memory', 's3']

/** Whether a target is a connection string of a database and not a directory: `scheme://`. Loads nothing of s3db.js. */
export function isConnectionString(target: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(target)
}
