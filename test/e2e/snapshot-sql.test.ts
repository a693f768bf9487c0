import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { expect, test } from 'vitest'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { recordImage } from '../support/model-database.ts'

test("DuckDB's read_json reads a snapshot file as it is", async () => {
  const directory = mkdtempSync(join(tmpdir(), 'snapshot-sql-'))
  try {
    const store = new FilesystemStore(directory)
    const writer = new SnapshotWriter({ store, prefix: '', ulid: '01KAAAAAAAAAAAAAAAAAAAAAAA', database: 'test' })
    // Enough for several gzip members.
    const users = Array.from({ length: 5000 }, (_, n) => ({
      id: `u${String(n).padStart(5, '0')}`,
      n,
      text: `é${n} `.repeat(40),
    }))
    await writer.add(
      users.map((user) => ({ kind: 'record', resource: 'users', id: user.id, image: recordImage(user) })),
    )
    await writer.finish()
    const connection = await (await DuckDBInstance.create()).connect()
    const file = join(directory, 'users.jsonl.gz')
    const result = await connection.runAndReadAll(
      `SELECT id, n::INTEGER AS n, text FROM read_json('${file}') ORDER BY id`,
    )
    expect(result.getRowObjects()).toEqual(users)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
